"""The successor's side: the agent before may leave at any moment, and is not asked for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from voice_agent.call.errand import Errand, Kind
from voice_agent.call.handover import calm
from voice_agent.call.handover.take import GoneError, TakeError, Taking
from voice_agent.call.handover.wire import ALIVE, Condition

AGENT = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


class Room:
    """A room whose agent before hears what it is asked, and never answers."""

    def __init__(self) -> None:
        self.remote_participants = {"before": SimpleNamespace(identity="before", kind=AGENT)}
        self.local_participant = self
        self.asked = asyncio.Event()
        self.methods: dict[str, Any] = {}
        self.watching: list[Callable[[Any], None]] = []

    def on(self, _: str, told: Callable[[Any], None]) -> None:
        self.watching.append(told)

    def off(self, _: str, told: Callable[[Any], None]) -> None:
        self.watching.remove(told)

    def isconnected(self) -> bool:
        return True

    def register_byte_stream_handler(self, *_: object) -> None: ...

    def unregister_byte_stream_handler(self, *_: object) -> None: ...

    def register_rpc_method(self, name: str, method: Any) -> None:
        self.methods[name] = method

    async def condition(self, who: str) -> Condition:
        """What a participant is answered who asks whether the successor is alive."""
        return Condition.model_validate_json(await self.methods[ALIVE](rtc.RpcInvocationData("1", who, "", 1.0)))

    async def perform_rpc(self, **_: object) -> str:
        self.asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    def leave(self) -> None:
        left = self.remote_participants.pop("before")
        for told in list(self.watching):
            told(left)


class Watch:
    """A watch that sees enough of a processor as long as it looks."""

    starved = True

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        self.starved = False
        yield


def _taking(room: Room) -> Taking:
    errand = Errand(kind=Kind.HANDOVER, caller="caller", epoch=2, predecessor="before", nonce="n")
    return Taking(cast("rtc.Room", room), errand)


async def test_an_agent_that_leaves_before_the_boundary_is_not_waited_for() -> None:
    room = Room()
    taking = asyncio.create_task(_taking(room).take())
    await room.asked.wait()
    room.leave()
    with pytest.raises(GoneError, match="has left"):
        await asyncio.wait_for(taking, 5)
    assert not room.watching


async def test_only_the_agent_before_is_told_whether_there_is_a_processor_to_spare(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watch = Watch()
    monkeypatch.setattr(calm, "Watch", lambda: watch)
    room = Room()
    taking = _taking(room)
    meeting = asyncio.create_task(taking.meet())
    await room.asked.wait()
    assert await room.condition("before") == Condition(starved=True)
    with pytest.raises(rtc.RpcError, match="predecessor"):
        await room.condition("caller")
    room.asked.clear()
    taken = asyncio.create_task(taking.take())
    await room.asked.wait()
    assert await room.condition("before") == Condition(starved=False)
    room.leave()
    for waiting in (meeting, taken):
        with pytest.raises(TakeError, match="has left"):
            await asyncio.wait_for(waiting, 5)


async def test_one_that_leaves_once_it_has_given_the_call_leaves_it_to_us_at_once() -> None:
    room = Room()
    telling = asyncio.create_task(_taking(room).taken())
    await room.asked.wait()
    room.leave()
    await asyncio.wait_for(telling, 5)
