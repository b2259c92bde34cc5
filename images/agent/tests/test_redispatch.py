"""LiveKit sends an agent by itself while a keeper sends one: the keeper takes either for the call's recovery."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api
from livekit.protocol import models

from voice_agent.call.errand import Errand, Kind, write
from voice_agent.keeper.alone import AlwaysLeading
from voice_agent.keeper.fleet import Known
from voice_agent.keeper.recovery import Recovery, Result
from voice_agent.state.memory import MemoryStore
from voice_agent.tether.wire import Tethered

DEAD = Tethered("room", "RM_1", "caller", 1, "AJ_1", "AD_first", "one", "node", "agent-1", "voice-agent")


class LiveKit:
    """A room with a caller, to which every dispatch brings a job."""

    def __init__(self) -> None:
        self.room = self.agent_dispatch = self
        # The dead one had called two successors, of which one has come, and may go on.
        self.dispatches = {DEAD.dispatch_id, "AD_called", "AD_in_vain", "AD_others"}

    async def list_rooms(self, _: api.ListRoomsRequest) -> Any:
        return SimpleNamespace(rooms=[SimpleNamespace(sid=DEAD.room_sid)])

    async def list_participants(self, _: api.ListParticipantsRequest) -> Any:
        caller = SimpleNamespace(identity=DEAD.caller, kind=models.ParticipantInfo.Kind.STANDARD)
        return SimpleNamespace(participants=[caller])

    async def remove_participant(self, _: api.RoomParticipantIdentity) -> None:
        pass

    async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> Any:
        self.dispatches.add("AD_keepers")
        return SimpleNamespace(id="AD_keepers", room=request.room)

    async def get_dispatch(self, dispatch: str, room: str) -> Any:
        return SimpleNamespace(state=SimpleNamespace(jobs=["a job"]), metadata="")

    async def list_dispatch(self, _: str) -> list[Any]:
        own = Errand(kind=Kind.HANDOVER, caller="caller", epoch=2, predecessor=DEAD.agent_identity, nonce="n")
        others = own.model_copy(update={"predecessor": "agent-0"})
        errands = {"AD_called": own, "AD_in_vain": own, "AD_others": others}
        return [
            SimpleNamespace(
                id=name,
                metadata=write(errands[name]) if name in errands else "",
                state=SimpleNamespace(jobs=["a job"] if name == "AD_called" else []),
            )
            for name in self.dispatches
        ]

    async def delete_dispatch(self, dispatch: str, room: str) -> None:
        self.dispatches.remove(dispatch)


def an_agent(epoch: int, dispatch: str) -> Tethered:
    return Tethered("room", "RM_1", "caller", epoch, "AJ_2", dispatch, "two", "node", "agent-2", "voice-agent")


@pytest.mark.parametrize(
    ("agent", "left"),
    [
        (an_agent(2, "AD_keepers"), {"AD_keepers"}),
        (an_agent(3, "AD_livekits"), set()),
        (an_agent(3, DEAD.dispatch_id), {DEAD.dispatch_id}),
        (an_agent(3, "AD_called"), set()),
    ],
    ids=["the keeper's", "LiveKit's", "LiveKit's, by the first dispatch", "the dead one's"],
)
async def test_whichever_agent_came_first_recovers_the_call_and_keeps_its_dispatch(
    agent: Tethered, left: set[str]
) -> None:
    livekit = LiveKit()

    async def supersede(call: str, epoch: int) -> None:
        assert (call, epoch) == (DEAD.call, 2)

    def known(_: str) -> Known | None:
        return Known(agent) if "AD_keepers" in livekit.dispatches else None

    client = cast(api.LiveKitAPI, livekit)
    recovery = Recovery(client, MemoryStore(), supersede, known, AlwaysLeading())

    assert await recovery.run(DEAD) is Result.RECOVERED
    # Deleting the dispatch of the agent that has the call would end it.
    assert livekit.dispatches == left | {"AD_called", "AD_others"}
