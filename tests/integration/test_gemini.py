"""When Gemini fails in the middle of a call."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from lab.callers import CallFleet, CallPlan
from lab.gemini import Fault, Simulator
from lab.worker import worker


async def test_a_call_outlives_its_connection_and_keeps_its_memory(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            gemini.faults.append(Fault("close", "answer", code=1011))
            await fleet.more_answers(3)
            [report] = await fleet.finish()

    assert len(gemini.sessions) == 2
    assert not report.lost
    # The turn under way is lost; an answer after it shows that those before are remembered.
    last = [turn for turn in report.turns if not turn.lost][-1]
    assert last.question > 2
    assert report.memory_kept


async def test_an_agent_whose_model_is_gone_for_good_leaves_the_room(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(replace(plan, give_up_after=1), 1) as fleet:
            await fleet.all_answering()
            gemini.faults.append(Fault("close", "turn", code=1007))
            line = await pod.logged("call over: error")
            async with asyncio.timeout(20):
                await pod.logged("call finished")
            [report] = await fleet.finish()

    assert line["severity"] == "ERROR"
    assert "1007" in line["message"]
    assert all(stay.left for stay in report.agents)
