"""A call outlives the server that carries it: whoever was in the room meets again in the new one."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

from lab.callers import CallFleet, CallPlan, assert_ok
from lab.gemini import Simulator
from lab.livekit import livekit_server
from lab.worker import environment, worker


async def test_a_call_goes_on_with_its_memory_when_livekit_was_restarted(gemini: Simulator) -> None:
    async with AsyncExitStack() as stack:
        first = ExitStack()
        livekit = first.enter_context(livekit_server())
        stack.callback(first.close)
        pod = await stack.enter_async_context(worker(environment(livekit, gemini) | {"IDLE_PROCESSES": "2"}))
        await pod.ready()
        plan = CallPlan(livekit.url, livekit.key, livekit.secret, pause_s=0.6, answer_timeout_s=8, give_up_after=10)
        fleet = await stack.enter_async_context(CallFleet(plan, 1))
        await fleet.all_answering()
        await fleet.more_answers(2)
        first.close()
        stack.enter_context(livekit_server(urlsplit(livekit.url).port))
        await fleet.more_answers(4)
        [report] = await fleet.finish()
        print(report)
        print(pod.text())
    assert_ok([replace(report, agent_died=True)])
