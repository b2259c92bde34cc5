"""A pod that is full of calls is empty before a Spot node goes."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab.callers import CallPlan, StarvedError
from lab.disruptions import fleet
from lab.matrix import Row, run
from lab.matrix.rows import SPOT_GRACE_SECONDS, Promise
from lab.matrix.scene import Effect, Scene
from lab.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"])]

# What values/local.yaml lets a pod have.
FULL = 6
# A caller who is not sent away by a few late answers.
PATIENCE = 8


async def test_a_full_pod_is_empty_before_a_spot_node_goes(
    stage: Stage, plan: CallPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow, log = stage.kubectl.command("kubectl", "logs", "--follow"), tmp_path / "log"
    following: list[asyncio.subprocess.Process] = []

    async def disrupt(scene: Scene) -> Effect:
        assert scene.serving == {scene.busy: FULL}
        await asyncio.to_thread(stage.install, "--set", "replicas=2")
        # Without another pod that starts: on two cores that are full of calls it would take what these need.
        with log.open("wb") as output:
            following.append(await asyncio.create_subprocess_exec(*follow, scene.busy, stdout=output))
        began = time.time()
        await asyncio.to_thread(fleet.scale, stage, 1, first=scene.busy)
        return Effect.told(began, {scene.busy})

    monkeypatch.setitem(stage.changes, "drain.gracePeriodSeconds", str(SPOT_GRACE_SECONDS))
    stage.install("--set", "replicas=1")
    stage.settle()
    plan = replace(plan, give_up_after=PATIENCE)
    trial = await run(stage, Row("full", "a full pod on a Spot node", Promise.PLANNED, disrupt), plan, FULL)
    print(trial.outcome)
    await following[0].wait()
    last = json.loads(log.read_text().splitlines()[-1])
    print(last["message"])
    [seconds] = trial.outcome.gone_s
    if seconds > SPOT_GRACE_SECONDS and trial.starved:
        raise StarvedError(f"the machine stood still; the pod was gone after {seconds:.1f} s")
    assert seconds <= SPOT_GRACE_SECONDS
    # Two cores that are full of calls may not start six more agents in the 15 s that these have. A call that is cut
    # then is taken up by the keepers, later than one that is handed over. With fewer calls the matrix is stricter.
    assert (last["moved"] + last["cut"], last["failed"]) == (FULL, 0)
    assert not trial.outcome.lost_calls
