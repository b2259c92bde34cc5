"""An agent that keepers have lost sight of is asked in its room, by LiveKit."""

from __future__ import annotations

import signal

from livekit import api
from livekit.protocol.models import ParticipantInfo

from lab.callers import CallFleet, CallPlan, assert_ok
from lab.livekit import LiveKit
from lab.worker import worker
from voice_agent.keeper.rooms import AgentsInRooms
from voice_agent.tether.wire import Tethered


async def _agent(client: api.LiveKitAPI, room: str) -> Tethered:
    people = await client.room.list_participants(api.ListParticipantsRequest(room=room))
    [agent] = [p.identity for p in people.participants if p.kind == ParticipantInfo.Kind.AGENT]
    return Tethered(room, "RM_1", "caller-1", 1, "AJ_1", "AD_1", "one", "node", agent, "agent")


async def test_an_agent_that_lives_answers_and_one_that_stands_still_does_not(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit
) -> None:
    async with worker(variables, pod="one") as one, api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            agent = await _agent(client, f"{plan.room}-1")
            stranger = Tethered(**{**agent.__dict__, "agent_identity": "nobody"})
            caller = Tethered(**{**agent.__dict__, "agent_identity": "caller-1"})
            assert await AgentsInRooms(client).answering([agent, stranger, caller]) == {agent}
            one.send_to_group(signal.SIGSTOP)
            try:
                assert not await AgentsInRooms(client).answering([agent])
            finally:
                one.send_to_group(signal.SIGCONT)
            await fleet.more_answers(1)
            reports = await fleet.finish()
    assert_ok(reports)
