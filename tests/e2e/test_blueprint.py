"""The baseline of the matrix is one: the published blueprint loses what this chart keeps, and the lab sees it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.baseline import blueprint
from lab.callers import CallPlan
from lab.matrix import MATRIX, run
from lab.stage import Stage

# Where a call gets no agent at all nobody sends it another: the blueprint loses calls without any disruption too. What
# is compared here begins with the kill.
pytestmark = [pytest.mark.cluster, pytest.mark.flaky(reruns=2, only_rerun=["calls have had no answer"])]


async def test_the_blueprint_loses_the_calls_of_a_killed_worker(stage: Stage, plan: CallPlan) -> None:
    baseline = blueprint(stage)
    baseline.install()
    baseline.settle()
    impatient = replace(plan, agent_name=baseline.agent_name, answer_timeout_s=10.0, give_up_after=1)
    try:
        trial = await run(baseline, MATRIX["kill"], impatient, 2)
    finally:
        baseline.uninstall()
    assert trial.outcome.struck, trial.story
    assert trial.outcome.lost_calls == trial.outcome.struck, trial.story
