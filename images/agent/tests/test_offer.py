"""How long an agent that must go waits for another, and whom it takes for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api, rtc

from voice_agent.assistant import Assistant
from voice_agent.call.control import Deadline, Result
from voice_agent.call.errand import read
from voice_agent.call.handover import boundary, calm, offer
from voice_agent.call.handover.wire import CALM, MEET, TAKE, Greeting, TakeRequest
from voice_agent.call.live import Call
from voice_agent.call.snapshot import CallIdentity

DISPATCH = api.AgentDispatch(id="AD_1")


def _attempt(get_dispatch: Any) -> offer._Attempt:
    context = SimpleNamespace(
        room=SimpleNamespace(name="room"),
        api=SimpleNamespace(agent_dispatch=SimpleNamespace(get_dispatch=get_dispatch)),
    )
    return offer._Attempt(cast("Call", SimpleNamespace(context=context)), cast("Deadline", None), {}, lambda: None)


async def test_a_successor_that_came_while_livekit_did_not_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.1)

    async def comes(*_: object) -> None:
        attempt._met.set()
        await asyncio.Event().wait()

    attempt = _attempt(comes)
    await attempt._until_assigned(DISPATCH)


async def test_a_dispatch_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.1)

    async def unanswered(*_: object) -> None:
        await asyncio.Event().wait()

    with pytest.raises(offer.NoSuccessorError, match="free slot"):
        await _attempt(unanswered)._until_assigned(DISPATCH)


class Room:
    """A room with the caller and two agents; its API, whose dispatches nobody is seen to take."""

    name = "room"

    def __init__(self) -> None:
        agent, standard = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT, rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
        kinds = {"caller": standard, "first": agent, "second": agent}
        self.remote_participants = {name: SimpleNamespace(kind=kind) for name, kind in kinds.items()}
        self.local_participant = self.agent_dispatch = self
        self.identity = "agent"
        self.methods: dict[str, Any] = {}
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.changed = asyncio.Condition()

    def on(self, *_: object) -> None: ...

    def off(self, *_: object) -> None: ...

    def register_rpc_method(self, name: str, method: Any) -> None:
        self.methods[name] = method

    def unregister_rpc_method(self, name: str) -> None:
        del self.methods[name]

    async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
        errand = read(request.metadata)
        assert errand
        async with self.changed:
            self.made.append(errand.nonce)
            self.changed.notify_all()
        return api.AgentDispatch(id=f"AD_{len(self.made)}")

    async def get_dispatch(self, dispatch: str, room: str) -> api.AgentDispatch:
        return api.AgentDispatch(id=dispatch)

    async def delete_dispatch(self, dispatch: str, room: str) -> None:
        async with self.changed:
            self.deleted.append(dispatch)
            self.changed.notify_all()

    async def until(self, done: Callable[[], bool]) -> None:
        async with self.changed, asyncio.timeout(10):
            await self.changed.wait_for(done)

    async def ask(self, method: str, who: str, request: Greeting) -> str:
        """What a participant is answered."""
        answer: str = await self.methods[method](rtc.RpcInvocationData("1", who, request.model_dump_json(), 1.0))
        return answer

    async def meet(self, who: str, nonce: str) -> str:
        """What a successor that was called by the dispatch with this nonce is answered."""
        return await self.ask(MEET, who, Greeting(nonce=nonce))


def _call(room: Room) -> Call:
    identity = CallIdentity(room="room", room_sid="RM_1", caller="caller", epoch=1)
    job = SimpleNamespace(agent_name="voice-agent", dispatch_id="AD_0")
    context = SimpleNamespace(room=room, api=room, job=job)
    return cast("Call", SimpleNamespace(context=context, identity=identity, agent=Assistant(), session=None))


async def _hand_over(room: Room, met: Callable[[], None] = lambda: None) -> None:
    async for _ in offer.Offer(_call(room), met).hand_over(Deadline(60)):
        pass


async def test_a_successor_that_comes_late_is_as_welcome_and_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.1)
    room = Room()

    handing_over = asyncio.create_task(_hand_over(room))
    try:
        await room.until(lambda: len(room.made) == 2)
        assert "AD_0" in await room.meet("first", room.made[0])
        await room.until(lambda: bool(room.deleted))
        with pytest.raises(rtc.RpcError, match="another one was first"):
            await room.meet("second", room.made[0])
        assert room.deleted == ["AD_2"]
    finally:
        handing_over.cancel()


@pytest.mark.parametrize("tells", [True, False], ids=["tells", "of an earlier release"])
async def test_a_successor_is_starved_until_it_tells_otherwise(monkeypatch: pytest.MonkeyPatch, tells: bool) -> None:
    at_boundary: asyncio.Future[Callable[[], bool]] = asyncio.get_running_loop().create_future()

    async def until(*arguments: Any) -> None:
        at_boundary.set_result(arguments[-1])
        await asyncio.Event().wait()

    monkeypatch.setattr(boundary, "until", until)
    monkeypatch.setattr(calm, "scheduled", lambda: None)
    room = Room()

    working: list[asyncio.Task[Any]] = [asyncio.create_task(_hand_over(room))]
    try:
        await room.until(lambda: bool(room.made))
        nonce = room.made[0]
        await room.meet("first", nonce)
        working.append(asyncio.create_task(room.ask(TAKE, "first", TakeRequest(nonce=nonce, tells_calm=tells))))
        starved = await asyncio.wait_for(at_boundary, 10)
        assert starved() is tells
        await room.ask(CALM, "first", Greeting(nonce=nonce))
        assert not starved()
    finally:
        for task in working:
            task.cancel()


async def test_dispatches_that_nobody_takes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.01)
    room = Room()
    results = [result async for result in offer.Offer(_call(room), lambda: None).hand_over(Deadline(0.2))]
    assert results[-1] is Result.GIVEN_UP
    assert len(room.made) > offer.DISPATCHES
    assert sorted(room.deleted) == sorted(f"AD_{number}" for number in range(1, len(room.made) + 1))


async def test_a_successor_that_is_looked_at_when_its_time_is_up_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.1)
    room = Room()
    looking, known = asyncio.Event(), asyncio.Event()

    async def is_agent(*_: object) -> bool:
        looking.set()
        await known.wait()
        return True

    monkeypatch.setattr(offer, "is_agent", is_agent)
    met = asyncio.Event()

    handing_over = asyncio.create_task(_hand_over(room, met.set))
    try:
        await room.until(lambda: len(room.made) == 1)
        meeting = asyncio.create_task(room.meet("first", room.made[0]))
        await looking.wait()
        # The limit passes meanwhile.
        await asyncio.sleep(0.3)
        known.set()
        assert "AD_0" in await meeting
        await asyncio.wait_for(met.wait(), 5)
        assert len(room.made) == 1
    finally:
        handing_over.cancel()
