"""Leaving: no new call from the first signal on, no live call cut before the deadline."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

from lab.callers import CallFleet, CallPlan
from lab.worker import Worker, worker
from voice_agent.worker.drain import SHUTDOWN_SECONDS

AGENTS = str(Path(__file__).parent / "agents")
TERM = signal.SIGTERM


async def refuses(pod: Worker) -> None:
    """A draining pod says so at once, and goes on saying that it lives."""
    async with asyncio.timeout(10):
        await pod.logged("draining: no new calls")
    assert await pod.get("/readyz") == (503, "draining")
    assert await pod.get("/livez") == (200, "ok")
    assert await pod.metric("voice_agent_draining") == 1


async def test_live_calls_go_on_and_new_ones_go_elsewhere(variables: dict[str, str], plan: CallPlan) -> None:
    async with worker(variables, pod="leaving") as leaving:
        await leaving.ready()
        async with CallFleet(plan, 1) as live:
            await live.all_answering()
            leaving.send(TERM)
            await refuses(leaving)

            async with worker(variables, pod="staying") as staying:
                await staying.ready()
                async with CallFleet(replace(plan, room=f"{plan.room}-new"), 2) as new:
                    await new.all_answering()
                    new_reports = await new.finish()
            # Again, to every process, as some inits do: the call goes on.
            leaving.send_to_group(TERM)
            await leaving.logged("already draining")
            await live.more_answers(2)
            [report] = await live.finish()

        assert await leaving.exit_code() == 0
        last = leaving.lines[-1]

    assert [report.pods for report in new_reports] == [["staying"]] * 2
    assert not report.lost
    assert report.pods == ["leaving"]
    assert (last["finished"], last["cut"], last["failed"]) == (1, 0, 0)
    assert "calls: 1 finished, 0 moved, 0 cut at the deadline" in last["message"]


async def test_calls_that_outlast_the_deadline_are_cut_and_reported(variables: dict[str, str], plan: CallPlan) -> None:
    async with worker(variables | {"DRAIN_TIMEOUT_SECONDS": "1"}) as pod:
        await pod.ready()
        async with CallFleet(replace(plan, answer_timeout_s=3, give_up_after=1), 1) as fleet:
            await fleet.all_answering()
            pod.send(TERM)
            assert await pod.exit_code() == 3
            # The pod is gone sooner than the caller asks again.
            await fleet.more_answers(1)
            [report] = await fleet.finish()
        last = pod.lines[-1]

    assert (last["finished"], last["cut"]) == (0, 1)
    assert report.lost


async def test_a_job_that_hangs_does_not_hold_the_pod(variables: dict[str, str], plan: CallPlan) -> None:
    variables |= {"AGENT_CLASS": "hanging_agent:Hanging", "PYTHONPATH": AGENTS, "DRAIN_TIMEOUT_SECONDS": "1"}
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(replace(plan, answer_timeout_s=3, give_up_after=1), 1) as fleet:
            await fleet.all_answering()
            pod.send(TERM)
            await pod.logged("the drain deadline has come")
            # Some of a starved machine's time is neither the job's nor ours.
            assert await pod.exit_code(SHUTDOWN_SECONDS + 5) == 3
            await fleet.finish()
    assert [line for line in pod.lines if line["message"] == "hanging"]
    assert [line for line in pod.lines if "they are killed" in line["message"]]
    assert pod.lines[-1]["cut"] == 1


async def test_an_idle_pod_leaves_at_once(variables: dict[str, str]) -> None:
    async with worker(variables) as pod:
        await pod.ready()
        pod.send(signal.SIGINT)

        assert await pod.exit_code(20) == 0
        assert "calls: 0 finished, 0 moved, 0 cut" in pod.lines[-1]["message"]


async def test_a_pod_that_is_still_starting_leaves_too(variables: dict[str, str]) -> None:
    async with worker(variables) as pod:
        await pod.logged("starting worker")
        pod.send(TERM)

        assert await pod.exit_code(30) == 0
