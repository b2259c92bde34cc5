"""Calls live through what happens to a fleet without anybody's intention."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator, Sequence

import pytest

from lab import disruptions, processes
from lab.callers import CallFleet, CallPlan, CallReport
from lab.stage import Stage

pytestmark = pytest.mark.cluster

# Each may need a process started at once, on the two cores that the callers share.
CALLS = 2
# Longer than the silence after which a node, or a pod that stands still, counts as lost.
FROZEN_SECONDS = 12.0


def _taken_up(reports: Sequence[CallReport], served: set[int]) -> None:
    """Every call went on with its memory; of those that were `served` there the turn under way may be lost."""
    for report in reports:
        words = f"call {report.call}: {', '.join(report.findings) or 'ok'}"
        assert not report.lost, words
        assert report.memory_kept, [(turn.question, turn.remembered, turn.pod) for turn in report.turns]
        assert not report.overlapped, words
        assert report.lost_turns <= (report.call in served), words


@pytest.fixture
def kept(release: Stage) -> Iterator[Stage]:
    """The release with keepers."""
    release.install("--set", "keeper.enabled=true")
    release.settle()
    yield release
    release.install()


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
    served = {report.call for report in reports if busy in report.pods}
    _taken_up(reports, served)
    assert any(len(report.agents) > 1 for report in reports), "no call was taken up by another agent"


@pytest.mark.parametrize("how", ["killed", "deleted without grace", "frozen", "its calls' processes killed"])
async def test_calls_of_a_pod_that_fails_are_taken_up(kept: Stage, plan: CallPlan, how: str) -> None:
    await _crash(kept, plan, how)
