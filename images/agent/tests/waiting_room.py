"""A room whose caller waits for an agent, for the tests of recovery."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from livekit import api
from livekit.protocol.agent import Job
from livekit.protocol.agent_dispatch import AgentDispatchState
from livekit.protocol.models import ParticipantInfo

from voice_agent.keeper.fleet import Known
from voice_agent.tether.wire import Loss, Tethered

LOST = Tethered("room", "RM_1", "caller", 1, "AJ_1", "AD_1", "pod-1", "node-1", "agent-1", "voice-agent")


class Room:
    """LiveKit with one room, in which the caller waits; a worker takes every job."""

    def __init__(self, metadata: str) -> None:
        self.room = self.agent_dispatch = self
        self.dispatches = {"AD_1": api.AgentDispatch(id="AD_1", room="room", metadata=metadata)}
        self.created: list[api.CreateAgentDispatchRequest] = []
        self.removed: list[str] = []
        self.agents: list[ParticipantInfo] = []
        self.unanswered = 0
        """How many dispatches go to a worker that stands still."""

    def tethers(
        self, agent: Tethered | Callable[[], Tethered], after: int = 1, loss: Loss | None = None
    ) -> Callable[[str], Known | None]:
        """An agent that is tethered once so many dispatches have been made, and lost at once if it is to be."""

        def known(_: str) -> Known | None:
            if len(self.created) < after:
                return None
            return Known(agent() if callable(agent) else agent, loss=loss)

        return known

    async def list_rooms(self, _: api.ListRoomsRequest) -> api.ListRoomsResponse:
        """The one."""
        return api.ListRoomsResponse(rooms=[api.Room(name="room", sid="RM_1")])

    async def list_participants(self, _: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
        """The caller, and the agents."""
        return api.ListParticipantsResponse(participants=[ParticipantInfo(identity="caller"), *self.agents])

    async def remove_participant(self, who: api.RoomParticipantIdentity) -> None:
        """Noted, no more."""
        self.removed.append(who.identity)

    async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
        """Noted; its job is there at once if a worker takes it."""
        self.created.append(request)
        name = f"AD_{len(self.created) + 1}"
        jobs = [Job(id="AJ_2")] if len(self.created) > self.unanswered else []
        state = AgentDispatchState(jobs=jobs)
        self.dispatches[name] = api.AgentDispatch(id=name, room="room", metadata=request.metadata, state=state)
        return self.dispatches[name]

    async def get_dispatch(self, dispatch: str, _: str) -> api.AgentDispatch | None:
        """As it was made."""
        return self.dispatches.get(dispatch)

    async def list_dispatch(self, _: str) -> list[api.AgentDispatch]:
        """All that are left."""
        return list(self.dispatches.values())

    async def delete_dispatch(self, dispatch: str, _: str) -> None:
        """It is no more."""
        del self.dispatches[dispatch]


async def supersede(*_: Any) -> None:
    """No tether of this keeper's is told."""
