"""How long an agent that must go waits for another, and whom it takes for one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api, rtc
from livekit.protocol import models

from voice_agent.assistant import Assistant
from voice_agent.call.control import Deadline, Result
from voice_agent.call.errand import read
from voice_agent.call.fence import CALLER_ATTRIBUTE, EPOCH_ATTRIBUTE
from voice_agent.call.handover import boundary, calm, offer, successor
from voice_agent.call.handover.successor import HeirError, NoSuccessorError, Successor
from voice_agent.call.handover.wire import ALIVE, MEET, TAKE, TAKEN, Condition, Greeting
from voice_agent.call.live import Call
from voice_agent.call.snapshot import CallIdentity
from voice_agent.tether.wire import Ending

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
        attempt._successor.met.set()
        await asyncio.Event().wait()

    attempt = _attempt(comes)
    await attempt._until_assigned(DISPATCH)


async def test_a_dispatch_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.1)

    async def unanswered(*_: object) -> None:
        await asyncio.Event().wait()

    with pytest.raises(offer.UnassignedError, match="free slot"):
        await _attempt(unanswered)._until_assigned(DISPATCH)


@pytest.mark.parametrize(("starved", "waits"), [(0, 1), (1, 2), (sys.maxsize, offer.STARVED_TIMES)])
async def test_one_that_is_starved_waits_longer_before_it_calls_another(
    monkeypatch: pytest.MonkeyPatch, starved: int, waits: int
) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.01)

    async def unanswered(*_: object) -> None:
        await asyncio.Event().wait()

    attempt, looks = _attempt(unanswered), Looks(starved)
    monkeypatch.setattr(attempt, "_processor", looks)
    with pytest.raises(offer.UnassignedError):
        await attempt._until_assigned(DISPATCH)
    assert starved - looks.left == waits


def participant(identity: str, epoch: int = 0) -> Any:
    attributes = {EPOCH_ATTRIBUTE: str(epoch), CALLER_ATTRIBUTE: "caller"} if epoch else {}
    return SimpleNamespace(identity=identity, kind=models.ParticipantInfo.Kind.AGENT, attributes=attributes)


class Room:
    """A room with the caller and two agents; its API, whose dispatches nobody is seen to take.

    Attributes:
        starved: how often the first agent will say that it is.
        silent: whether it answers no more.
        people: who is in the room as LiveKit has it.
    """

    name = "room"

    def __init__(self) -> None:
        agent, standard = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT, rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
        kinds = {"caller": standard, "first": agent, "second": agent}
        self.remote_participants = {name: SimpleNamespace(identity=name, kind=kind) for name, kind in kinds.items()}
        self.local_participant = self.agent_dispatch = self.room = self
        self.identity = "agent"
        self.methods: dict[str, Any] = {}
        self.made: list[str] = []
        self.deleted: list[str] = []
        self.removed: list[str] = []
        self.changed = asyncio.Condition()
        self.starved = 0
        self.silent = False
        self.watched = asyncio.Event()
        self.people = [participant("agent", epoch=1), participant("first")]

    def on(self, *_: object) -> None:
        self.watched.set()

    def off(self, *_: object) -> None: ...

    async def perform_rpc(self, *, destination_identity: str, method: str, **_: object) -> str:
        assert (destination_identity, method) == ("first", ALIVE)
        async with self.changed:
            self.starved -= 1
            self.changed.notify_all()
        if self.silent:
            await asyncio.Event().wait()
        return Condition(starved=self.starved >= 0).model_dump_json()

    def register_rpc_method(self, name: str, method: Any) -> None:
        self.methods[name] = method

    def unregister_rpc_method(self, name: str) -> None:
        del self.methods[name]

    async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
        errand = read(request.metadata)
        assert errand
        assert errand.job_metadata == "of the first job", "the keepers look for it here if this one's successor dies"
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

    async def remove_participant(self, who: api.RoomParticipantIdentity) -> None:
        self.removed.append(who.identity)

    async def list_participants(self, _: api.ListParticipantsRequest) -> Any:
        return SimpleNamespace(participants=self.people)

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
    identity = CallIdentity(room="room", room_sid="RM_1", caller="caller", job_metadata="of the first job")
    job = SimpleNamespace(agent_name="voice-agent", dispatch_id="AD_0")
    context = SimpleNamespace(room=room, api=room, job=job)
    call = SimpleNamespace(context=context, identity=identity, agent=Assistant(), session=None, ending=None)
    return cast("Call", call)


async def _offer(call: Call, deadline: Deadline, met: Callable[[], None] = lambda: None) -> list[Result]:
    return [result async for result in offer.Offer(call, met).hand_over(deadline)]


async def _hand_over(room: Room, met: Callable[[], None] = lambda: None) -> None:
    await _offer(_call(room), Deadline(60), met)


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


class Looks:
    """What a process sees of its processors: `starved` times that it is, then that it is not."""

    def __init__(self, starved: int) -> None:
        self.left = starved

    @property
    def starved(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def looking(self) -> nullcontext[None]:
        return nullcontext()


@asynccontextmanager
async def _offered(
    monkeypatch: pytest.MonkeyPatch, room: Room, deadline: Deadline, looks: Looks
) -> AsyncIterator[asyncio.Event]:
    """A call at rest whose successor is ready; the event is set when the old agent stops answering."""
    monkeypatch.setattr(boundary, "is_now", lambda _: True)
    monkeypatch.setattr(boundary, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(calm, "POLL_SECONDS", 0.001)
    monkeypatch.setattr(calm, "Watch", lambda: looks)
    given, call = asyncio.Event(), _call(room)

    async def hold() -> None:
        given.set()
        await asyncio.Event().wait()

    vars(call)["hold"] = hold
    working: list[asyncio.Task[Any]] = [asyncio.create_task(_offer(call, deadline))]
    try:
        await room.until(lambda: bool(room.made))
        await room.meet("first", room.made[0])
        working.append(asyncio.create_task(room.ask(TAKE, "first", Greeting(nonce=room.made[0]))))
        yield given
    finally:
        for task in working:
            task.cancel()


@pytest.mark.parametrize(("old", "successor"), [(20, 0), (0, 20)], ids=["the old one", "the successor"])
async def test_a_call_does_not_move_while_either_agent_is_starved(
    monkeypatch: pytest.MonkeyPatch, old: int, successor: int
) -> None:
    room, looks = Room(), Looks(old)
    room.starved = successor
    async with _offered(monkeypatch, room, Deadline(600), looks) as given:
        await asyncio.wait_for(given.wait(), 10)
    assert looks.left < 0
    assert room.starved < 0


async def test_no_processor_is_waited_for_where_time_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    room, deadline = Room(), Deadline(600)
    room.starved = sys.maxsize
    async with _offered(monkeypatch, room, deadline, Looks(0)) as given:
        await room.until(lambda: room.starved < sys.maxsize - 5)
        assert not given.is_set()
        deadline.move(calm.HURRY_SECONDS)
        await asyncio.wait_for(given.wait(), 10)


async def test_a_call_is_not_given_to_who_was_made_for_an_agent_that_is_not_active_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room()
    async with _offered(monkeypatch, room, Deadline(600), Looks(0)) as given:
        monkeypatch.setattr(offer, "path_of", lambda _: "shop:Cashier")
        await room.until(lambda: len(room.made) == 2)
        assert room.removed == ["first"]
        assert not given.is_set()


async def test_one_that_stood_still_and_was_taken_for_dead_leaves_its_successor_alone() -> None:
    room = Room()
    attempt = offer._Attempt(_call(room), Deadline(600), {}, lambda: None)
    coming = attempt._successor
    room.people = [participant("first", epoch=3)]
    async with coming.answering():
        await room.meet("first", coming.nonce)
        with pytest.raises(HeirError):
            # Nor does it talk to the model again.
            await attempt._carry_on(entering=False)
    assert not room.removed


async def test_a_successor_of_an_agent_that_is_out_of_the_room_is_left_alone_and_may_have_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room = Room()
    async with _offered(monkeypatch, room, Deadline(600), Looks(0)) as given:
        # Removed a moment ago: nobody has said yet that the call is theirs.
        room.people = [participant("first")]
        monkeypatch.setattr(offer, "path_of", lambda _: "shop:Cashier")
        await room.until(lambda: len(room.made) == 2)
        assert not room.removed
        assert not room.deleted
        assert not given.is_set()


async def test_a_handover_is_over_when_another_agent_has_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def heir(*_: object) -> None:
        raise HeirError("another agent has the call")

    monkeypatch.setattr(offer._Attempt, "run", heir)
    room = Room()
    assert await _offer(_call(room), Deadline(600)) == []
    assert not room.made


@asynccontextmanager
async def _taking(room: Room) -> AsyncIterator[tuple[Successor, asyncio.Task[None]]]:
    """A successor that may have the call, and has been asked some times whether it lives."""
    coming = Successor(_call(room), {})
    async with coming.answering():
        await room.meet("first", coming.nonce)
        waiting = asyncio.create_task(coming.until_taken())
        await room.until(lambda: room.starved < -2)
        yield coming, waiting


async def _take(room: Room, coming: Successor) -> None:
    await room.ask(TAKEN, "first", Greeting(nonce=coming.nonce))


async def test_a_successor_that_dies_with_the_call_is_noticed_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(successor, "TAKEN_WITHIN_SECONDS", 600.0)
    monkeypatch.setattr(successor, "ASK_AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(successor, "ALIVE_WITHIN_PATIENT_SECONDS", 0.05)
    room = Room()
    async with _taking(room) as (_, waiting):
        assert not waiting.done(), "one that lives may be slow"
        room.silent = True
        with pytest.raises(NoSuccessorError, match="did not say"):
            await asyncio.wait_for(waiting, 10)


async def test_a_successor_that_is_slow_may_take_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(successor, "TAKEN_WITHIN_SECONDS", 600.0)
    monkeypatch.setattr(successor, "ASK_AGAIN_SECONDS", 0.01)
    room = Room()
    async with _taking(room) as (coming, waiting):
        monkeypatch.setattr(successor, "ALIVE_WITHIN_PATIENT_SECONDS", 600.0)
        room.silent = True
        asked = room.starved
        await room.until(lambda: room.starved < asked)
        await _take(room, coming)
        await asyncio.wait_for(waiting, 10)


@pytest.mark.parametrize("late", [False, True])
async def test_only_one_of_two_agents_has_the_call_when_the_successor_is_late(late: bool) -> None:
    room = Room()
    call = _call(room)
    attempt = offer._Attempt(call, Deadline(600), {}, lambda: None)
    coming = attempt._successor

    async def resume() -> None:
        assert room.removed == ["first"]
        with pytest.raises(rtc.RpcError, match="too late"):
            await _take(room, coming)

    vars(call)["resume"] = resume
    async with coming.answering():
        await room.meet("first", coming.nonce)
        await (attempt._carry_on(entering=False) if late else _take(room, coming))
    assert call.ending is (None if late else Ending.HANDED_OVER)


async def test_a_caller_who_is_away_is_waited_for_and_counts_as_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 1.0)
    monkeypatch.setattr(offer, "RETURNS_WITHIN_SECONDS", 0.01)
    room = Room()
    caller = room.remote_participants.pop("caller")
    deadline = Deadline(60)
    handing_over = asyncio.create_task(_offer(_call(room), deadline))
    for _ in range(3):
        await asyncio.wait_for(room.watched.wait(), 10)
        room.watched.clear()
    assert not room.made
    room.remote_participants["caller"] = caller
    await room.until(lambda: bool(room.made))
    deadline.move(0)
    assert await asyncio.wait_for(handing_over, 10) == [Result.FAILED, Result.GIVEN_UP]


async def test_dispatches_that_nobody_takes_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.01)
    room = Room()
    results = await _offer(_call(room), Deadline(0.2))
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

    monkeypatch.setattr(successor, "is_agent", is_agent)
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
