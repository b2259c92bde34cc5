"""A room that LiveKit has made anew; room, fence and keepers are the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest

from voice_agent.call import rejoining
from voice_agent.call.fence import Fence
from voice_agent.call.live import Call
from voice_agent.call.reception import Reception
from voice_agent.call.rejoining import Rejoining
from voice_agent.call.snapshot import CallIdentity
from voice_agent.tether.wire import Ending


class Room:
    """A room whose SID may change."""

    def __init__(self) -> None:
        self.name = "RM_1"
        self._heard: dict[str, Callable[[], None]] = {}

    @property
    def sid(self) -> Awaitable[str]:
        async def sid() -> str:
            return self.name

        return sid()

    def on(self, event: str, listener: Callable[[], None]) -> None:
        self._heard[event] = listener

    def off(self, event: str, _: Callable[[], None]) -> None:
        del self._heard[event]

    def is_lost(self) -> None:
        self._heard["reconnecting"]()

    def comes_back(self, sid: str) -> None:
        self.name = sid
        for event in ("reconnected", "room_updated"):
            self._heard[event]()


class Heard:
    """A reception that is lost and back when the test says so."""

    def __init__(self) -> None:
        self.is_lost, self.is_back = asyncio.Event(), asyncio.Event()
        self.losses = self.failures = 0

    async def lost(self) -> None:
        await self.is_lost.wait()
        self.is_lost.clear()
        self.losses += 1

    async def back(self) -> None:
        await self.is_back.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("no more threads")


class Watched:
    """A call that is watched, and what was told of it: epochs in the room, names to the keepers."""

    def __init__(self, ending: Ending | None = None) -> None:
        self.room, self.reception = Room(), Heard()
        self.call = cast(
            Call,
            SimpleNamespace(
                context=SimpleNamespace(room=self.room),
                identity=CallIdentity(room="room", room_sid="RM_1", caller="caller", epoch=3),
                ending=ending,
            ),
        )
        self.said: list[int] = []
        self.told: list[str] = []
        self.failures = 0
        self.told_on = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cut_off = asyncio.Event()

    async def say(self, epoch: int) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("lost again")
        self.said.append(epoch)

    async def renamed(self) -> None:
        self.told.append(self.call.identity.key)
        self.told_on.set()

    async def away(self) -> None:
        self.let_go.set()

    async def is_cut_off(self) -> None:
        self.cut_off.set()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        reception = cast(Reception, self.reception)
        watch = Rejoining(self.call, cast(Fence, self), reception, self.renamed, self.away, self.is_cut_off)
        watch.start()
        try:
            yield
        finally:
            await watch.aclose()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_in_a_new_room_the_call_has_a_new_name_and_the_next_epoch() -> None:
    watched = Watched()
    async with watched.watching():
        watched.room.comes_back("RM_2")
        await turns()

    assert (watched.said, watched.told) == ([4], ["RM_2/caller"])


async def test_in_the_same_room_only_the_epoch_is_said_again() -> None:
    watched = Watched()
    async with watched.watching():
        watched.room.comes_back("RM_1")
        await turns()

    assert (watched.said, watched.told) == ([3], [])


@pytest.mark.parametrize("ending", [Ending.HANDED_OVER, Ending.SUPERSEDED])
async def test_an_agent_that_has_given_the_call_away_does_not_claim_it(ending: Ending) -> None:
    watched = Watched(ending)
    async with watched.watching():
        watched.room.comes_back("RM_2")
        await turns()

    assert (watched.said, watched.told) == ([], [])
    assert watched.call.identity.epoch == 3


async def test_what_could_not_be_told_is_told_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejoining, "RETRY_SECONDS", 0.0)
    watched = Watched()
    watched.failures = 1
    async with watched.watching():
        watched.room.comes_back("RM_2")
        await asyncio.wait_for(watched.told_on.wait(), 5)

    assert (watched.said, watched.told) == ([4], ["RM_2/caller"])


async def test_a_call_is_let_go_of_while_livekit_cannot_be_reached_and_taken_again_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rejoining, "AWAY_SECONDS", 0.0)
    watched = Watched()
    async with watched.watching():
        watched.room.is_lost()
        await asyncio.wait_for(watched.let_go.wait(), 5)
        assert watched.told == []
        watched.room.comes_back("RM_1")
        await asyncio.wait_for(watched.told_on.wait(), 5)

    assert (watched.said, watched.told) == ([3], ["RM_1/caller"])


async def test_a_call_that_another_agent_has_by_then_is_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejoining, "AWAY_SECONDS", 0.0)
    watched = Watched()

    async def say(epoch: int) -> None:
        watched.said.append(epoch)
        watched.call.ending = Ending.SUPERSEDED

    monkeypatch.setattr(watched, "say", say)
    async with watched.watching():
        watched.room.is_lost()
        await asyncio.wait_for(watched.let_go.wait(), 5)
        watched.room.comes_back("RM_1")
        await turns()

    assert (watched.said, watched.told) == ([3], [])


async def test_a_moment_without_livekit_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejoining, "AWAY_SECONDS", 0.05)
    watched = Watched()
    async with watched.watching():
        watched.room.is_lost()
        await turns()
        watched.room.comes_back("RM_1")
        await asyncio.sleep(0.2)

    assert not watched.let_go.is_set()
    assert (watched.said, watched.told) == ([3], [])


@pytest.mark.parametrize("failures", [0, 1])
async def test_a_call_is_let_go_of_while_nothing_comes_though_the_connection_was_not_closed(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    monkeypatch.setattr(rejoining, "RETRY_SECONDS", 0.0)
    watched = Watched()
    watched.reception.failures = failures
    async with watched.watching():
        watched.reception.is_lost.set()
        await asyncio.wait_for(watched.cut_off.wait(), 5)
        assert (watched.said, watched.told) == ([], [])
        watched.reception.is_back.set()
        await asyncio.wait_for(watched.told_on.wait(), 5)

    assert (watched.said, watched.told) == ([], ["RM_1/caller"]), "it is the same participant"
    assert not watched.let_go.is_set()


async def test_a_client_that_has_noticed_by_itself_is_given_its_own_time() -> None:
    watched = Watched()
    async with watched.watching():
        watched.room.is_lost()
        watched.reception.is_lost.set()
        await turns()
        assert watched.reception.losses == 1
        assert not watched.cut_off.is_set()
        watched.room.comes_back("RM_1")
        watched.reception.is_lost.set()
        await asyncio.wait_for(watched.cut_off.wait(), 5)

    assert (watched.said, watched.told) == ([3], [])
