"""An outage of the signalling is LiveKit's: it restarts no pod, and makes none ready that could take no call."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from lab.callers import CallFleet, CallPlan, Summary
from lab.cluster import LAB_NAMESPACE
from lab.disruptions.surroundings import LIVEKIT
from lab.stage import Stage

pytestmark = pytest.mark.cluster

# Longer than the liveness probe is patient, 60 s. That a worker tries for ever, tests/integration sees.
OUTAGE_SECONDS = 75


@contextmanager
def _livekit_gone(stage: Stage) -> Iterator[None]:
    lab = stage.kubectl.in_namespace(LAB_NAMESPACE)
    lab.run("scale", "deployment/livekit", "--replicas=0")
    lab.run("wait", "--for=delete", "pod", "-l", LIVEKIT, "--timeout=60s")
    try:
        yield
    finally:
        lab.run("scale", "deployment/livekit", "--replicas=1")
        lab.run("rollout", "status", "deployment/livekit", "--timeout=60s")


def _ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def _restarts(stage: Stage) -> Counter[str]:
    """By pod; one that an earlier test has killed has some."""
    restarts: Counter[str] = Counter()
    for pod in stage.workers():
        for status in pod["status"].get("containerStatuses", []):
            restarts[pod["metadata"]["name"]] += status["restartCount"]
    return restarts


async def test_an_outage_of_livekit_restarts_no_pod(release: Stage, plan: CallPlan) -> None:
    kept, replaced = sorted(release.worker_names())
    before = _restarts(release)
    with _livekit_gone(release):
        began = time.monotonic()
        release.kubectl.run("delete", "pod", replaced, "--timeout=60s")
        while time.monotonic() - began < OUTAGE_SECONDS:
            pods = {pod["metadata"]["name"]: pod for pod in release.workers()}
            assert kept in pods
            assert _ready(pods[kept]), "a pod that had registered lost its readiness"
            newcomers = [name for name, pod in pods.items() if name != kept and _ready(pod)]
            assert not newcomers, "a pod was ready before it had registered"
            assert not _restarts(release) - before
            await asyncio.sleep(5)
    release.kubectl.run("wait", "--for=condition=Ready", "pod", "--all", "--timeout=90s")
    assert not _restarts(release) - before
    await _answered_again(plan)


async def _answered_again(plan: CallPlan) -> None:
    """A call is answered as soon as a worker has come back to LiveKit; LiveKit queues none until then."""
    for attempt in range(6):
        one = replace(plan, room=f"{plan.room}-{attempt}", questions=1, agent_timeout_s=15.0)
        async with CallFleet(one, 1) as fleet:
            with suppress(TimeoutError):
                await fleet.all_answering(timeout=40)
            reports = await fleet.finish()
        if Summary.of(reports).ok:
            return
    pytest.fail(f"no call was answered after the outage: {reports}")
