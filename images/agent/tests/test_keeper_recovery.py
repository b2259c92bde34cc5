"""A lost call's recovery: what it asks of LiveKit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
from livekit import api
from livekit.protocol.agent import Job
from livekit.protocol.agent_dispatch import AgentDispatchState
from livekit.protocol.models import ParticipantInfo

from voice_agent.call import errand as errands
from voice_agent.call.errand import Errand, Kind
from voice_agent.keeper.alone import AlwaysLeading
from voice_agent.keeper.recovery import Recovery, Result
from voice_agent.state.memory import MemoryStore
from voice_agent.state.store import Snapshot, Stamp
from voice_agent.tether.wire import Tethered

LOST = Tethered("room", "RM_1", "caller", 1, "AJ_1", "AD_1", "pod-1", "node-1", "agent-1", "voice-agent")


class Room:
    """LiveKit with one room, in which the caller waits; a worker takes every job."""

    def __init__(self, metadata: str) -> None:
        self.room = self.agent_dispatch = self
        self.dispatches = {"AD_1": api.AgentDispatch(id="AD_1", room="room", metadata=metadata)}
        self.created: list[api.CreateAgentDispatchRequest] = []
        self.removed: list[str] = []

    async def list_rooms(self, _: api.ListRoomsRequest) -> api.ListRoomsResponse:
        return api.ListRoomsResponse(rooms=[api.Room(name="room", sid="RM_1")])

    async def list_participants(self, _: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
        return api.ListParticipantsResponse(participants=[ParticipantInfo(identity="caller")])

    async def remove_participant(self, who: api.RoomParticipantIdentity) -> None:
        self.removed.append(who.identity)

    async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
        self.created.append(request)
        state = AgentDispatchState(jobs=[Job(id="AJ_2")])
        self.dispatches["AD_2"] = api.AgentDispatch(id="AD_2", room="room", metadata=request.metadata, state=state)
        return self.dispatches["AD_2"]

    async def get_dispatch(self, dispatch: str, _: str) -> api.AgentDispatch | None:
        return self.dispatches.get(dispatch)

    async def delete_dispatch(self, dispatch: str, _: str) -> None:
        del self.dispatches[dispatch]


async def recovered(room: Room, call: Tethered) -> Errand:
    """The errand that the successor is sent on."""

    async def supersede(*_: Any) -> None:
        pass

    recovery = Recovery(
        cast(api.LiveKitAPI, room),
        MemoryStore(),
        supersede,
        lambda _: replace(LOST, epoch=2, dispatch_id="AD_2"),
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

    assert await recovered(room, LOST) == Errand(kind=Kind.RECOVERY, caller="caller", epoch=2, job_metadata="gold")
    assert (list(room.dispatches), room.removed) == (["AD_2"], ["agent-1"])


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


def test_an_errand_of_an_older_keeper_is_understood() -> None:
    errand = errands.read('{"voice-agent": {"kind": "recovery", "caller": "caller", "epoch": 2}}')

    assert errand == Errand(kind=Kind.RECOVERY, caller="caller", epoch=2)


async def test_an_agent_of_another_cluster_is_known_by_what_it_writes() -> None:
    room, store = Room("gold"), MemoryStore()

    async def supersede(call: str, epoch: int) -> None:
        # Where the successor is tethered, this keeper does not see; the store is the same.
        await store.put(call, Snapshot(Stamp(epoch, 1), b"sealed"))

    recovery = Recovery(cast(api.LiveKitAPI, room), store, supersede, lambda _: None, AlwaysLeading())

    assert await recovery.run(LOST) is Result.RECOVERED
    assert "AD_2" in room.dispatches, "its dispatch was deleted, and with it the agent"
