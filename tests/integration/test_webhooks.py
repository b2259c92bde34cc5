"""A LiveKit that tells the keepers of its rooms is understood by them."""

from __future__ import annotations

import signal
from dataclasses import replace

from lab.callers import CallFleet, CallPlan
from lab.gemini import Simulator
from lab.keeper import keeper
from lab.livekit import livekit_server
from lab.ports import free_port
from lab.worker import environment, worker
from voice_agent.keeper.webhooks import WEBHOOKS_PATH

# The dead agent stays in the room for some 20 s.
PATIENT = 120.0


async def test_a_call_that_no_tether_told_of_is_taken_up_when_livekit_tells_of_its_agents_end(
    gemini: Simulator, plan: CallPlan
) -> None:
    port = free_port()
    with livekit_server(webhooks=f"http://127.0.0.1:{port}{WEBHOOKS_PATH}") as livekit:
        plan = replace(plan, url=livekit.url, give_up_after=60, answer_timeout_s=3)
        # Without KEEPER_URL.
        variables = environment(livekit, gemini) | {"AGENT_NAME": plan.agent_name, "IDLE_PROCESSES": "1"}
        keepers = environment(livekit) | {"AGENT_NAME": plan.agent_name}
        async with keeper(keepers, port=port) as watching, worker(variables, pod="one") as one:
            await one.ready()
            async with CallFleet(plan, 1) as fleet, worker(variables, pod="two") as two:
                await fleet.all_answering()
                await two.ready()
                one.send_to_group(signal.SIGKILL)
                await two.logged("call recovered")
                assert await watching.metric('voice_agent_keeper_webhooks_total{event="participant_left"}') == 1
                assert await watching.metric('voice_agent_keeper_webhooks_total{event="refused"}') == 0
                await fleet.more_answers(2, timeout=PATIENT)
                [report] = await fleet.finish()
    assert not report.lost, report.story
    assert report.pods == ["one", "two"]
