"""A lost call's recovery: what it asks of LiveKit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from livekit import api
from livekit.protocol.models import ParticipantInfo

from voice_agent.call import errand as errands
from voice_agent.call.errand import Errand, Kind
from voice_agent.call.fence import CALLER_ATTRIBUTE, EPOCH_ATTRIBUTE
from voice_agent.keeper import recovery, sending
from voice_agent.keeper.alone import AlwaysLeading, NoPeers, UnknownPods
from voice_agent.keeper.brain import Brain
from voice_agent.keeper.deaths import Deaths
from voice_agent.keeper.fleet import Known
from voice_agent.keeper.ports import Leadership
from voice_agent.keeper.reconciliation import LOOK_SECONDS, LOOKS, Reconciliation
from voice_agent.keeper.recovery import Recovery, Result
from voice_agent.state.memory import MemoryStore
from voice_agent.state.store import Kept, Snapshot, Stamp
from voice_agent.tether.wire import Ending, Loss, Tethered

from .waiting_room import LOST, Room, supersede


async def recovered(room: Room, call: Tethered) -> Errand:
    """The errand that the successor is sent on."""

    recovery = Recovery(
        cast(api.LiveKitAPI, room),
        MemoryStore(),
        supersede,
        room.tethers(replace(LOST, epoch=2, dispatch_id="AD_2")),
        AlwaysLeading(),
    )
    assert await recovery.run(call) is Result.RECOVERED
    [request] = room.created
    errand = errands.read(request.metadata)
    assert errand is not None
    return errand


@pytest.mark.parametrize(
    "dispatched_with",
    ["gold", errands.write(Errand(kind=Kind.RECOVERY, caller="caller", epoch=2, job_metadata="gold"))],
)
async def test_a_successor_is_told_what_the_first_agent_was_told(dispatched_with: str) -> None:
    room = Room(dispatched_with)

    expected = Errand(kind=Kind.RECOVERY, caller="caller", epoch=2, job_metadata="gold", kept_as="RM_1")
    assert await recovered(room, LOST) == expected
    assert (list(room.dispatches), room.removed) == (["AD_2"], ["agent-1"])


async def test_what_livekit_can_be_asked_at_once_is() -> None:
    """A caller hears nothing meanwhile, and LiveKit Cloud may be a tenth of a second away."""

    class Far(Room):
        def __init__(self) -> None:
            super().__init__("")
            self.looked, self.asked = asyncio.Event(), asyncio.Event()

        async def list_rooms(self, request: api.ListRoomsRequest) -> api.ListRoomsResponse:
            await self.looked.wait()
            return await super().list_rooms(request)

        async def list_participants(self, request: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
            self.looked.set()
            return await super().list_participants(request)

        async def remove_participant(self, who: api.RoomParticipantIdentity) -> None:
            await self.asked.wait()
            await super().remove_participant(who)

        async def get_dispatch(self, dispatch: str, room: str) -> api.AgentDispatch | None:
            self.asked.set()
            return await super().get_dispatch(dispatch, room)

    async with asyncio.timeout(10):
        await recovered(Far(), LOST)


async def test_of_a_room_that_is_gone_nothing_is_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Room):
        async def list_rooms(self, request: api.ListRoomsRequest) -> api.ListRoomsResponse:
            return api.ListRoomsResponse()

        async def list_participants(self, _: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
            raise api.TwirpError(api.TwirpErrorCode.NOT_FOUND, "no such room", status=404)

    monkeypatch.setattr(recovery, "ROOM_STAYS_SECONDS", 0.0)
    room = Gone("")

    looking = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, lambda _: None, AlwaysLeading())
    assert await looking.run(LOST) is Result.CALLER_LEFT
    assert room.created == []


async def test_a_caller_who_has_left_and_is_back_is_sent_an_agent_with_the_next_epoch_and_what_was_kept() -> None:
    class Rooms(Room):
        """The agent that comes is tethered."""

        async def list_rooms(self, _: api.ListRoomsRequest) -> api.ListRoomsResponse:
            return api.ListRoomsResponse(rooms=[api.Room(name="room", sid="RM_1", num_participants=1)])

        async def list_dispatch(self, _: str) -> list[api.AgentDispatch]:
            return list(self.dispatches.values())

        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            sent = await super().create_dispatch(request)
            brain.on_call(replace(LOST, epoch=2, dispatch_id=sent.id, agent_identity="agent-2"))
            return sent

        async def delete_dispatch(self, dispatch: str, room: str) -> None:
            await super().delete_dispatch(dispatch, room)
            tidied.set()

    room, store, tidied, now = Rooms("gold"), MemoryStore(), asyncio.Event(), [0.0]
    room.dispatches["AD_1"].agent_name = LOST.agent_name
    client = cast(api.LiveKitAPI, room)
    brain = Brain(client, store, AlwaysLeading(), UnknownPods(), NoPeers())
    looking = Reconciliation(client, LOST.agent_name, brain, AlwaysLeading(), NoPeers(), clock=lambda: now[0])
    brain.on_call(LOST)
    await store.put(LOST.call, Snapshot(Stamp(1, 1), b"sealed"))

    brain.on_goodbye(LOST, Ending.CALLER_LEFT)
    await store.delete(LOST.call, LOST.epoch, after=30.0)
    for _ in range(LOOKS):
        await looking.look()
        now[0] += LOOK_SECONDS
    async with asyncio.timeout(10):
        await tidied.wait()

    assert list(room.dispatches) == ["AD_2"]
    told = errands.read(room.dispatches["AD_2"].metadata)
    assert told == Errand(kind=Kind.RECOVERY, caller="caller", epoch=2, job_metadata="gold", kept_as="RM_1")
    assert await store.get(LOST.call) == Kept(2, Snapshot(Stamp(1, 1), b"sealed"))


async def test_a_caller_who_is_away_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Reconnecting(Room):
        looks = 0

        async def list_participants(self, request: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
            self.looks += 1
            return await super().list_participants(request) if self.looks > 2 else api.ListParticipantsResponse()

    assert (await recovered(Reconnecting(""), LOST)).caller == "caller"
    # One who is away for longer, too, as long as the room is there.
    monkeypatch.setattr(recovery, "RETURNS_WITHIN_SECONDS", 0.0)
    monkeypatch.setattr(recovery, "_LOOK_SECONDS", 0.0)
    assert (await recovered(Reconnecting(""), LOST)).caller == "caller"
    monkeypatch.setattr(recovery, "ROOM_STAYS_SECONDS", 0.0)
    looking = Recovery(
        cast(api.LiveKitAPI, Reconnecting("")), MemoryStore(), supersede, lambda _: None, AlwaysLeading()
    )
    assert await looking.run(LOST) is Result.CALLER_LEFT


async def test_a_keeper_that_leads_no_more_when_livekit_answers_leaves_the_call_alone() -> None:
    class Slow(Room):
        async def list_rooms(self, request: api.ListRoomsRequest) -> api.ListRoomsResponse:
            lead.leading = False
            return await super().list_rooms(request)

    room, store, lead = Slow(""), MemoryStore(), SimpleNamespace(leading=True)
    looking = Recovery(cast(api.LiveKitAPI, room), store, supersede, lambda _: None, cast(Leadership, lead))
    assert await looking.run(LOST) is Result.LEFT_TO_ANOTHER
    assert (room.created, room.removed, await store.get(LOST.call)) == ([], [], None)


async def test_a_call_that_has_another_agent_by_the_time_that_livekit_answers_is_left_to_it() -> None:
    """Sent by a keeper that led meanwhile, or by LiveKit itself."""

    class Slow(Room):
        async def list_rooms(self, request: api.ListRoomsRequest) -> api.ListRoomsResponse:
            agents.append(replace(LOST, epoch=2, dispatch_id="AD_of_theirs"))
            return await super().list_rooms(request)

    room, store, agents = Slow(""), MemoryStore(), list[Tethered]()
    room.agents = [ParticipantInfo(identity="recorder", kind=ParticipantInfo.Kind.AGENT)]
    looking = Recovery(
        cast(api.LiveKitAPI, room), store, supersede, lambda _: Known(agents[-1]) if agents else None, AlwaysLeading()
    )
    assert await looking.run(LOST) is Result.RECOVERED
    assert (room.created, room.removed, await store.get(LOST.call)) == ([], [], None)
    assert not room.dispatches, "the lost agent's is used up"


@pytest.mark.parametrize("when", ["before", "while LiveKit is asked"])
async def test_an_agent_that_is_back_keeps_its_call(when: str) -> None:
    class Slow(Room):
        async def list_rooms(self, request: api.ListRoomsRequest) -> api.ListRoomsResponse:
            agents.append(LOST)
            return await super().list_rooms(request)

    agents = [LOST] if when == "before" else []
    room = Slow("")
    looking = Recovery(
        cast(api.LiveKitAPI, room),
        MemoryStore(),
        supersede,
        lambda _: Known(agents[-1]) if agents else None,
        AlwaysLeading(),
    )
    assert await looking.run(LOST) is Result.RETURNED
    assert (room.created, room.removed) == ([], [])


async def test_of_a_fleet_that_was_given_another_name_agents_are_asked_for_by_both(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Renamed(Room):
        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            self.unanswered = len(self.created) + (request.agent_name != "florist")
            return await super().create_dispatch(request)

    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.02)
    room = Renamed("")
    agent = replace(LOST, epoch=3, dispatch_id="AD_4")
    looking = Recovery(
        cast(api.LiveKitAPI, room), MemoryStore(), supersede, room.tethers(agent, after=3), AlwaysLeading(), "florist"
    )
    assert await looking.run(LOST) is Result.RECOVERED
    assert [request.agent_name for request in room.created] == ["voice-agent", "voice-agent", "florist"]


async def test_an_agent_that_is_lost_as_soon_as_it_came_is_not_waited_for() -> None:
    room = Room("")
    known = room.tethers(replace(LOST, epoch=2, dispatch_id="AD_2"), loss=Loss.CLOSED)
    came: list[int] = []
    looking = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, known, AlwaysLeading())
    async with asyncio.timeout(sending.TETHERED_WITHIN_SECONDS / 2):
        assert await looking.run(LOST, lambda: came.append(len(room.created))) is Result.RECOVERED
    assert came == [1]


async def test_where_no_agent_ever_came_none_is_removed() -> None:
    room = Room("")
    await recovered(room, Tethered("room", "RM_1", "caller", 1, "", "AD_1", "", "", "", "voice-agent"))

    assert room.removed == []


async def test_a_dispatch_that_livekit_does_not_know_any_more_keeps_nobody_waiting() -> None:
    class Forgetful(Room):
        async def get_dispatch(self, dispatch: str, room: str) -> api.AgentDispatch | None:
            if dispatch == "AD_1":
                raise api.TwirpError(api.TwirpErrorCode.NOT_FOUND, "no such dispatch", status=404)
            return await super().get_dispatch(dispatch, room)

    assert (await recovered(Forgetful("gold"), LOST)).job_metadata == ""


async def test_a_successor_is_told_how_many_have_died_of_what_it_restores() -> None:
    room = Room("gold")
    comes = room.tethers(replace(LOST, epoch=2, dispatch_id="AD_2"))

    def known(call: str) -> Known | None:
        return comes(call) if room.created else Known(LOST, loss=Loss.CLOSED, deaths=Deaths(3))

    recovery = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, known, AlwaysLeading())
    assert await recovery.run(LOST) is Result.RECOVERED
    [request] = room.created
    errand = errands.read(request.metadata)
    assert errand is not None
    assert errand.deaths == 3


def test_an_errand_of_an_older_keeper_is_understood() -> None:
    errand = errands.read('{"voice-agent": {"kind": "recovery", "caller": "caller", "epoch": 2}}')

    assert errand == Errand(kind=Kind.RECOVERY, caller="caller", epoch=2)


OURS = replace(LOST, epoch=2, dispatch_id="AD_2", agent_identity="agent-ours")
THEIRS = replace(LOST, epoch=2, dispatch_id="AD_of_theirs", agent_identity="agent-theirs")
# LiveKit has run the first dispatch again, and the keepers have given its agent the next epoch.
AGAIN = replace(LOST, epoch=3, agent_identity="agent-again")


class TwoAgents(Room):
    """Who comes into the room is decided at the fourth look: only `stays` is still there."""

    def __init__(self, first: Tethered, both: tuple[Tethered, Tethered], stays: Tethered, *, told: bool) -> None:
        super().__init__("gold")
        self.tethered = first
        self._both, self._stays, self._told = both, stays, told
        self._looks = 0
        self.deleted_at: list[int] = []
        """How often the room had been looked at by then."""

    async def list_participants(self, request: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
        if self.created:
            self._looks += 1
            if self._looks == 2:
                raise api.TwirpError(api.TwirpErrorCode.UNAVAILABLE, "not now", status=503)
            if self._looks > 3:
                self.tethered = self._stays
            self.agents = [self._participant(each) for each in self._both if self._looks < 4 or each is self._stays]
        return await super().list_participants(request)

    async def delete_dispatch(self, dispatch: str, room: str) -> None:
        self.deleted_at.append(self._looks)
        await super().delete_dispatch(dispatch, room)

    def _participant(self, agent: Tethered) -> ParticipantInfo:
        told = {EPOCH_ATTRIBUTE: str(agent.epoch), CALLER_ATTRIBUTE: agent.caller} if self._told else {}
        return ParticipantInfo(identity=agent.agent_identity, kind=ParticipantInfo.Kind.AGENT, attributes=told)


@pytest.mark.parametrize("told", [True, False], ids=["told", "starting"])
@pytest.mark.parametrize(
    ("first", "both", "stays", "kept"),
    [
        (THEIRS, (OURS, THEIRS), OURS, ["AD_2"]),
        (THEIRS, (OURS, THEIRS), THEIRS, []),
        (OURS, (OURS, AGAIN), AGAIN, ["AD_1"]),
    ],
    ids=["another keeper's leaves", "another keeper's stays", "LiveKit's stays"],
)
async def test_no_dispatch_is_deleted_before_the_agents_know_which_of_them_leaves(
    monkeypatch: pytest.MonkeyPatch,
    first: Tethered,
    both: tuple[Tethered, Tethered],
    stays: Tethered,
    kept: list[str],
    told: bool,
) -> None:
    monkeypatch.setattr(recovery, "_POLL_SECONDS", 0.01)
    room = TwoAgents(first, both, stays, told=told)
    keeper = Recovery(
        cast(api.LiveKitAPI, room), MemoryStore(), supersede, room.tethers(lambda: room.tethered), AlwaysLeading()
    )

    assert await keeper.run(LOST) is Result.RECOVERED
    assert list(room.dispatches) == kept
    assert min(room.deleted_at) >= 4, "the one that was ended may have been the one that stays"


async def test_where_it_never_shows_which_agent_leaves_none_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(recovery, "TETHERED_WITHIN_SECONDS", 0.1)
    room = Room("gold")
    room.agents = [
        ParticipantInfo(
            identity=each.agent_identity,
            kind=ParticipantInfo.Kind.AGENT,
            attributes={EPOCH_ATTRIBUTE: "2", CALLER_ATTRIBUTE: "caller"},
        )
        for each in (OURS, THEIRS)
    ]
    keeper = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, room.tethers(THEIRS), AlwaysLeading())

    assert await keeper.run(LOST) is Result.RECOVERED
    assert list(room.dispatches) == ["AD_1", "AD_2"]


@pytest.mark.parametrize(
    "attributes",
    [{EPOCH_ATTRIBUTE: "2", CALLER_ATTRIBUTE: "another caller"}, {EPOCH_ATTRIBUTE: "1", CALLER_ATTRIBUTE: "caller"}],
    ids=["of another call", "of an epoch before"],
)
async def test_other_agents_that_come_are_not_waited_for(attributes: dict[str, str]) -> None:
    class Busy(Room):
        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            kind = ParticipantInfo.Kind.AGENT
            self.agents = [ParticipantInfo(identity="agent-x", kind=kind, attributes=attributes)]
            return await super().create_dispatch(request)

    room = Busy("gold")

    async with asyncio.timeout(5):
        await recovered(room, LOST)
    assert list(room.dispatches) == ["AD_2"]
