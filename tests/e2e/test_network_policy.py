"""With NetworkPolicies that something enforces, calls go on and move as ever, and nothing else passes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.callers import CallPlan
from lab.cluster import LAB_NAMESPACE
from lab.cluster.local.layout import DNS_PORT
from lab.kubectl import Kubectl
from lab.matrix import MATRIX, run
from lab.stage import RELEASE, Stage

pytestmark = [pytest.mark.cluster, pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"])]

# Policies know the ports on which pods listen, not those of Services, and the local cluster's DNS server has another.
_DNS = [{"ports": [{"protocol": protocol, "port": DNS_PORT} for protocol in ("UDP", "TCP")]}]
ENABLED = ("--set", "networkPolicy.enabled=true", "--set-json", f"networkPolicy.extraEgress={json.dumps(_DNS)}")

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 3)
except (TimeoutError, ConnectionRefusedError):
    print("closed")
else:
    print("open")
"""


@pytest.fixture(scope="module")
def enforced(stage: Stage) -> Iterator[Stage]:
    """The stage, its release behind its own NetworkPolicies."""
    stage.cluster.enforce_policies()
    try:
        stage.install(*ENABLED)
        stage.settle()
        yield stage
    finally:
        stage.install()
        stage.cluster.ignore_policies()


def _reaches(kubectl: Kubectl, pod: str, host: str, port: int) -> bool:
    said = kubectl.run("exec", pod, "--", "/opt/venv/bin/python", "-c", _CONNECT, host, str(port))
    return {"open": True, "closed": False}[said.strip()]


def _reached(stage: Stage) -> dict[str, bool]:
    """What strangers reach of the release, and what a worker reaches that is none of its business."""
    [keeper, *_] = stage.keepers()
    [worker, *_] = stage.workers()
    lab = stage.kubectl.in_namespace(LAB_NAMESPACE)
    return {
        "stranger to keeper": _reaches(lab, "deploy/gemini-sim", keeper["status"]["podIP"], 8090),
        "stranger to worker's metrics": _reaches(lab, "deploy/gemini-sim", worker["status"]["podIP"], 9090),
        "worker to keeper": _reaches(stage.kubectl, worker["metadata"]["name"], keeper["status"]["podIP"], 8090),
        "worker to the simulator's administration": _reaches(
            stage.kubectl, worker["metadata"]["name"], f"gemini-sim.{LAB_NAMESPACE}.svc", 8444
        ),
    }


def test_without_policies_everything_is_reached(release: Stage) -> None:
    """Else what the next test finds closed would say nothing."""
    assert all(_reached(release).values())


def test_only_what_the_product_needs_passes(enforced: Stage) -> None:
    needed = {
        "stranger to keeper": False,
        "stranger to worker's metrics": True,
        "worker to keeper": True,
        "worker to the simulator's administration": False,
    }
    # Each node hears of a policy by itself.
    deadline = time.monotonic() + 30
    while (reached := _reached(enforced)) != needed and time.monotonic() < deadline:
        time.sleep(1)
    assert reached == needed


def test_helm_test_finds_everything_in_order(enforced: Stage) -> None:
    said = enforced.kubectl.helm("test", RELEASE, "--logs", "--timeout=180s")
    assert "Phase:          Succeeded" in said


async def test_calls_move_and_are_taken_up(enforced: Stage, plan: CallPlan) -> None:
    # They are offered to other pods, which then have them from the keepers.
    trial = await run(enforced, MATRIX["delete-now"], replace(plan, give_up_after=8), 2)
    trial.check()
