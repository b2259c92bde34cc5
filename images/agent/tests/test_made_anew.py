"""A call whose agent dies while LiveKit restarts: its caller is in a room of the same name, with another SID."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet
from livekit import api
from livekit.agents.utils.aio import cancel_and_wait
from livekit.protocol.models import ParticipantInfo

from voice_agent.call import entrance, session
from voice_agent.call import errand as errands
from voice_agent.call.errand import Errand, Kind
from voice_agent.call.fence import CALLER_ATTRIBUTE, EPOCH_ATTRIBUTE
from voice_agent.call.snapshot import AgentState, CallIdentity
from voice_agent.call.snapshot import Snapshot as Conversation
from voice_agent.keeper import recovery, sending
from voice_agent.keeper.alone import AlwaysLeading, NoPeers, UnknownPods
from voice_agent.keeper.brain import Brain
from voice_agent.keeper.fleet import Known
from voice_agent.keeper.recovery import Recovery, Result
from voice_agent.settings import Settings
from voice_agent.state.memory import MemoryStore
from voice_agent.state.seal import Seal
from voice_agent.state.store import Snapshot, Stamp
from voice_agent.tether.ask import Keepers
from voice_agent.tether.wire import Loss, Tethered

from .noting_keeper import until
from .waiting_room import LOST, Room

NEW = "RM_2/caller"
KEPT = Snapshot(Stamp(1, 7), b"sealed")
# As it comes back if it lives, see `call.rejoining`.
RETURNED = replace(LOST, room_sid="RM_2", epoch=2)
BROUGHT = replace(LOST, room_sid="RM_2", dispatch_id="AD_of_the_token", agent_identity="agent-brought")


class Restarted(Room):
    """LiveKit as it tells of the room, one look after the other: its SID, and whether the caller is in it."""

    def __init__(self, *looks: tuple[str, bool], metadata: str = "") -> None:
        super().__init__(metadata)
        self._coming = list(looks)
        self._sid, self._there = looks[0]
        self.looks = 0
        self.store = MemoryStore()
        self.known: dict[str, Known] = {}
        self.superseded: set[tuple[str, int]] = set()
        self.on_look: Callable[[], None] = lambda: None
        self.on_agent: Callable[[Tethered], None] = lambda _: None

    @property
    def errands(self) -> list[Errand | None]:
        """Those on which agents were sent."""
        return [errands.read(request.metadata) for request in self.created]

    async def list_rooms(self, _: api.ListRoomsRequest) -> api.ListRoomsResponse:
        self.looks += 1
        if self._coming:
            self._sid, self._there = self._coming.pop(0)
        self.on_look()
        return api.ListRoomsResponse(rooms=[api.Room(name="room", sid=self._sid)] if self._sid else [])

    async def list_participants(self, request: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
        if self._there:
            return await super().list_participants(request)
        return api.ListParticipantsResponse(participants=self.agents)

    async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
        assert self._sid, "the dispatch would make a room"
        assert self._there, "it has no caller"
        made = await super().create_dispatch(request)
        errand = errands.read(request.metadata)
        assert errand is not None
        if made.state.jobs:
            agent = replace(LOST, room_sid=self._sid, epoch=errand.epoch, dispatch_id=made.id, pod="pod-2")
            self.known[agent.call] = Known(agent)
            self.on_agent(agent)
        return made

    async def supersede(self, call: str, epoch: int) -> None:
        self.superseded.add((call, epoch))

    async def recover(self, lost: Tethered = LOST, *, anew: bool = True) -> Result:
        await self.store.put(LOST.call, KEPT)
        client = cast(api.LiveKitAPI, self)
        keeper = Recovery(client, self.store, self.supersede, self.known.get, AlwaysLeading())
        async with asyncio.timeout(10):
            return await keeper.run(lost, anew=anew)

    async def snapshot(self) -> Snapshot | None:
        """What is kept of the call under its old name."""
        kept = await self.store.get(LOST.call)
        return kept.snapshot if kept else None


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_AGENT_RETURNS_SECONDS", 0.0)
    monkeypatch.setattr(recovery, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(recovery, "_ANEW_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(recovery, "ROOM_STAYS_SECONDS", 0.5)
    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.02)


async def test_the_call_goes_on_in_the_new_room_with_what_is_kept_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "ROOM_STAYS_SECONDS", 5.0)
    room = Restarted(("", False), ("", False), ("RM_2", False), ("RM_2", True))

    assert await room.recover() is Result.RECOVERED
    # Above what the lost agent would have, were it to come back after all.
    assert room.errands == [Errand(kind=Kind.RECOVERY, caller="caller", epoch=3, kept_as="RM_1")]
    assert room.superseded == {(LOST.call, 3), (NEW, 3)}
    assert await room.snapshot() == KEPT, "the agent has not written its own yet"


@pytest.mark.parametrize(
    "looks",
    [
        [("", False)],
        [("RM_2", False)],
        [("RM_1", False), ("", False), ("RM_2", False)],
        # Who was in the room is told a moment later than that it was made anew.
        [("RM_2", True), ("RM_2", False)],
    ],
    ids=["no room", "a room without the caller", "one after the other", "the caller was in the room before"],
)
async def test_a_caller_who_does_not_come_back_has_left(looks: list[tuple[str, bool]]) -> None:
    room, kept = Restarted(*looks), list[bool]()
    room.on_look = lambda: kept.append(LOST.call in room.store._entries)

    assert await room.recover() is Result.CALLER_LEFT
    assert room.created == []
    assert len(kept) > 3
    assert all(kept), "the snapshot was deleted while the caller was waited for"
    assert await room.store.get(LOST.call) is None


async def test_a_call_that_was_lost_long_ago_is_not_taken_for_the_callers_next_one() -> None:
    room = Restarted(("RM_2", True))
    room.known[NEW] = Known(BROUGHT)

    assert await room.recover(anew=False) is Result.CALLER_LEFT
    assert (room.created, room.superseded) == ([], set())


async def test_the_old_name_is_forgotten_once_the_agent_has_written_by_the_new() -> None:
    room, now = Restarted(("RM_2", True)), [0.0]
    room.store = MemoryStore(clock=lambda: now[0])

    assert await room.recover() is Result.RECOVERED
    assert await room.snapshot() == KEPT
    now[0] = 301.0
    assert await room.snapshot() is None


async def test_where_the_room_is_as_it_was_livekit_is_asked_once() -> None:
    room = Restarted(("RM_1", True))

    assert await room.recover() is Result.RECOVERED
    assert room.looks == 1
    assert room.errands == [Errand(kind=Kind.RECOVERY, caller="caller", epoch=2, kept_as="RM_1")]


async def test_an_agent_that_comes_back_to_the_new_room_itself_keeps_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_AGENT_RETURNS_SECONDS", 0.2)
    room = Restarted(("", False), ("RM_2", True))

    def comes_back() -> None:
        if room.looks == 5:  # some time after the caller
            room.known[NEW] = Known(RETURNED)

    room.on_look = comes_back
    assert await room.recover() is Result.RETURNED
    assert (room.created, room.removed, room.superseded) == ([], [], set())


async def test_an_agent_that_the_callers_token_has_brought_gives_way() -> None:
    room = Restarted(("RM_2", True))
    room.known[NEW] = Known(BROUGHT)

    assert await room.recover() is Result.RECOVERED
    assert (NEW, 3) in room.superseded
    assert room.known[NEW].call.pod == "pod-2"


async def test_one_that_the_token_brings_late_has_a_new_call_until_it_sees_the_other() -> None:
    room = Restarted(("RM_2", True))

    assert await room.recover() is Result.RECOVERED
    assert await room.store.get(NEW) is None, "it would go on above the other's epoch, without its memory"


@pytest.mark.parametrize("written_by", [0, 1, 3], ids=["nobody", "the one that the token brought", "itself"])
async def test_of_an_agent_that_dies_in_the_new_room_too_the_latest_snapshot_of_the_call_is_taken(
    written_by: int,
) -> None:
    sent_on = errands.write(Errand(kind=Kind.RECOVERY, caller="caller", epoch=3, job_metadata="gold", kept_as="RM_1"))
    room = Restarted(("RM_2", True), metadata=sent_on)
    if written_by:
        await room.store.put(NEW, Snapshot(Stamp(written_by, 1), b"in the new room"))

    assert await room.recover(replace(LOST, room_sid="RM_2", epoch=3)) is Result.RECOVERED
    kept_as = "RM_2" if written_by == 3 else "RM_1"
    expected = Errand(kind=Kind.RECOVERY, caller="caller", epoch=4, job_metadata="gold", kept_as=kept_as)
    assert room.errands == [expected]


@contextmanager
def thinking(room: Restarted) -> Iterator[Brain]:
    """A keeper that has just lost the call."""
    brain = Brain(cast(api.LiveKitAPI, room), room.store, AlwaysLeading(), UnknownPods(), NoPeers())
    room.on_agent = brain.on_call
    brain.on_call(LOST)
    brain.on_lost(LOST, Loss.CLOSED)
    yield brain


async def test_a_keeper_knows_the_call_by_its_new_name_only() -> None:
    room = Restarted(("", False), ("RM_2", True))
    room.unanswered = 2
    with thinking(room) as brain:

        def found_waiting() -> None:
            if room._sid == "RM_2":
                found = replace(LOST, room_sid="RM_2", pod="")
                assert brain.is_lost(found) or brain.recover_found(found)

        room.on_look = found_waiting
        running = asyncio.create_task(brain.run())
        await until(lambda: bool(room.known) and not brain._running)
        assert [(known.call.call, known.call.pod) for known in brain.calls()] == [(NEW, "pod-2")]
        assert brain.rooms() == {"RM_2"}
        assert set(brain._relapses._recovered) == {NEW}
        await cancel_and_wait(running)
    assert {errand.kept_as for errand in room.errands if errand} == {"RM_1"}, "an agent without memory was sent, too"


async def test_a_caller_who_was_found_waiting_is_followed_too() -> None:
    room = Restarted(("", False), ("RM_2", True))
    brain = Brain(cast(api.LiveKitAPI, room), room.store, AlwaysLeading(), UnknownPods(), NoPeers())
    room.on_agent = brain.on_call
    assert brain.recover_found(LOST)
    await until(lambda: bool(room.known) and not brain._running)
    assert [known.call.call for known in brain.calls()] == [NEW]


async def test_an_agent_that_a_caller_without_a_memory_has_in_the_new_room_is_left_alone() -> None:
    room = Restarted(("", False), ("RM_2", True))
    brain = Brain(cast(api.LiveKitAPI, room), room.store, AlwaysLeading(), UnknownPods(), NoPeers())
    brain.on_call(BROUGHT)
    assert brain.recover_found(LOST)
    await until(lambda: not brain._running)
    assert [known.call for known in brain.calls()] == [BROUGHT]
    assert (room.created, room.removed) == ([], [])


async def test_of_a_call_whose_next_agent_other_keepers_watch_over_nothing_is_left_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "TETHERED_WITHIN_SECONDS", 0.05)
    told = {EPOCH_ATTRIBUTE: "3", CALLER_ATTRIBUTE: "caller"}
    room = Restarted(("RM_2", True))
    room.agents = [ParticipantInfo(identity="agent-2", kind=ParticipantInfo.Kind.AGENT, attributes=told)]
    with thinking(room) as brain:
        room.on_agent = lambda agent: room.known.clear()
        running = asyncio.create_task(brain.run())
        await until(lambda: bool(room.created) and not brain._running)
        assert (brain.calls(), brain.rooms()) == ([], frozenset())
        await cancel_and_wait(running)


async def test_a_caller_in_a_new_room_is_waited_with_until_there_is_a_free_slot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recovery, "GIVE_UP_SECONDS", 0.2)
    room = Restarted(("RM_2", True))
    room.unanswered = 2
    with thinking(room) as brain:
        running = asyncio.create_task(brain.run())
        await until(lambda: bool(room.known))
        await cancel_and_wait(running)
    last = room.errands[-1]
    assert last is not None
    assert last.kept_as == "RM_1"


async def test_the_agent_goes_on_under_the_new_name_with_what_was_kept_under_the_old(
    monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]
) -> None:
    key = Fernet.generate_key().decode()
    settings = make_settings(KEEPER_URL="http://keeper", KEEPER_SECRET="shared", STATE_KEYS=key)  # noqa: S106 - none
    now = datetime.now(UTC)
    # Written before the room was made anew another time, so to say: the name that it is kept under is what counts.
    kept = Conversation(
        call=CallIdentity(room="room", room_sid="RM_0", caller="caller", epoch=1, job_metadata="gold"),
        agent=AgentState(path="a:B", instructions="", chat={"items": []}),
        began_at=now,
        written_at=now,
    )

    async def snapshot(_: Keepers, call: str) -> bytes | None:
        return Seal([key]).seal(LOST.call, kept.encode()) if call == LOST.call else None

    async def connect() -> None:
        """The room is there."""

    async def caller_in(*_: object) -> object:
        return SimpleNamespace(identity="caller")

    async def start(call: Any, agent: object) -> None:
        started.append((call.identity, agent))

    started = list[tuple[CallIdentity, object]]()
    job = SimpleNamespace(
        metadata=errands.write(Errand(kind=Kind.RECOVERY, caller="caller", epoch=3, kept_as="RM_1")),
        room=SimpleNamespace(sid="RM_2", name="room"),
    )
    context = SimpleNamespace(
        job=job,
        connect=connect,
        room=SimpleNamespace(name="room", remote_participants={}),
        proc=None,
        add_shutdown_callback=lambda _: None,
    )
    monkeypatch.setattr(Keepers, "snapshot", snapshot)
    monkeypatch.setattr(session, "caller_in", caller_in)
    monkeypatch.setattr(
        session, "prepared", lambda _: SimpleNamespace(settings=settings, make_agent=lambda: "a new one")
    )
    monkeypatch.setattr(session, "agent_at", lambda path, _: path)
    monkeypatch.setattr(session, "Call", lambda _, identity, *__: SimpleNamespace(identity=identity))
    monkeypatch.setattr(session, "_start", start)
    monkeypatch.setattr(entrance, "be_silent", lambda _: None)
    for name in ("agent_session", "describe"):
        monkeypatch.setattr(session, name, lambda *_, **__: None)

    await session.answer(cast("Any", context))

    going_on = CallIdentity(room="room", room_sid="RM_2", caller="caller", epoch=3, job_metadata="gold")
    assert started == [(going_on, "a:B")]
