"""Calls live through what happens to a fleet without anybody's intention."""

from __future__ import annotations

import asyncio
import signal

import pytest

from lab import disruptions, processes
from lab.callers import CallFleet, CallPlan, assert_ok
from lab.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"])]

# Each may need a process started at once, on the two cores that the callers share.
CALLS = 3
# Longer than the silence after which a node, or a pod that stands still, counts as lost.
FROZEN_SECONDS = 12.0


async def _crash(release: Stage, plan: CallPlan, how: str) -> None:
    async with CallFleet(plan, CALLS) as fleet:
        await fleet.all_answering()
        await fleet.more_answers(1)
        busy, _ = (await release.serving(plan.room)).most_common()[0]
        before = await release.serving(plan.room)
        match how:
            case "killed":
                await asyncio.to_thread(disruptions.kill_worker, release, busy)
            case "deleted without grace":
                await asyncio.to_thread(disruptions.delete, release, busy, 1)
            case "frozen":
                pids = await asyncio.to_thread(disruptions.freeze, release, busy)
                try:
                    await asyncio.sleep(FROZEN_SECONDS)
                finally:
                    disruptions.thaw(pids)
            case "its calls' processes killed":
                processes.send(await asyncio.to_thread(processes.of_calls, release.kubectl, busy), signal.SIGKILL)
        await fleet.more_answers(2)
        reports = await fleet.finish()
    assert before[busy]
    assert_ok([report.when_killed({busy}) for report in reports])
    assert any(len(report.agents) > 1 for report in reports), "no call was taken up by another agent"


@pytest.mark.parametrize("how", ["killed", "deleted without grace", "frozen", "its calls' processes killed"])
async def test_calls_of_a_pod_that_fails_are_taken_up(release: Stage, plan: CallPlan, how: str) -> None:
    await _crash(release, plan, how)
