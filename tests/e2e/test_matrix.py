"""Every row of the disruption matrix, once: calls, turns and memory are kept as promised."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.callers import CallPlan
from lab.matrix import MATRIX, Row, run
from lab.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"])]

# On a slow machine three calls leave nothing of two cores to the pods that start beside them.
CALLS = 2
# A caller who gives up only after an outage that no row lasts as long as.
PATIENCE = 8
# Callers who think quickly: thirty rows are half of all the tests' time.
PAUSE_SECONDS = 1.0


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in MATRIX.items()])
async def test_calls_survive(row: Row, stage: Stage, plan: CallPlan) -> None:
    stage.install(*row.arguments)
    stage.settle()
    trial = await run(stage, row, replace(plan, give_up_after=PATIENCE, pause_s=PAUSE_SECONDS), CALLS)
    print(f"{row.title}: {trial.outcome}")
    trial.check()
