"""From every released version to this one, with live calls."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from lab.callers import CallPlan
from lab.images import archive_of
from lab.matrix import Promise, Row, run
from lab.matrix.scene import Effect, Scene
from lab.paths import CHART, VALUES
from lab.releases import Release, releases
from lab.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"])]

CALLS = 2
PAUSE_SECONDS = 1.0


def _install(release: Release, stage: Stage) -> None:
    """The chart, the values and the image of a released version, as an operator installed it then."""
    stage.cluster.load_image(archive_of(release.image()))
    stage.uninstall()
    values, tag = release.path(VALUES / "local.yaml"), f"image.tag={release.version}"
    stage.kubectl.install(
        stage.release, "--values", str(values), "--set-string", tag, *stage.helm_args, chart=release.path(CHART)
    )
    stage.settle()


async def _upgrade(scene: Scene) -> Effect:
    began = time.time()
    old = scene.stage.worker_names()
    await asyncio.to_thread(scene.stage.install)
    kept = old & scene.stage.worker_names()
    assert not kept, f"the upgrade did not replace {sorted(kept)}"
    return Effect.told(began, old)


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.version)
async def test_an_upgrade_keeps_every_call(release: Release, stage: Stage, plan: CallPlan) -> None:
    await asyncio.to_thread(_install, release, stage)
    row = Row(f"from-{release.version}", f"upgrade from {release.version}", Promise.PLANNED, _upgrade, moves=1)
    trial = await run(stage, row, replace(plan, pause_s=PAUSE_SECONDS), CALLS)
    print(f"{row.title}: {trial.outcome}")
    trial.check()
    assert trial.outcome.struck == CALLS, "a call was not served by the released version"
