"""What operators and Kubernetes do to a fleet on purpose: pods that go are told so."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from pathlib import Path

import yaml

from lab.disruptions.waiting import until
from lab.paths import CHART
from lab.stage import Stage

ROLLOUT_SECONDS = 300
# Settings of what is around pods, each another than in `values/local.yaml`.
UNREAD = (
    "podDisruptionBudget.maxUnavailable=2,rollout.maxSurge=2,rollout.minReadySeconds=1,rollout.revisionHistoryLimit=4,"
    "telemetry.metrics.dashboard.enabled=true,commonAnnotations.a=b,deploymentAnnotations.c=d"
)


def _new_revision(stage: Stage) -> None:
    # A number would be refused: annotations are strings.
    stage.changes["podAnnotations.voice-agent/revision"] = f"at-{time.time_ns()}"


def rolling_upgrade(stage: Stage) -> set[str]:
    """Replace every pod by ``helm upgrade``; returns the replaced pods' names, which may still be draining."""
    before = stage.worker_names()
    _new_revision(stage)
    stage.install()
    return replaced(stage, before)


def begin_upgrade(stage: Stage) -> set[str]:
    """``helm upgrade`` without waiting; returns, as soon as the first pod was told to go, the names of all old ones."""
    before = stage.worker_names()
    _new_revision(stage)
    stage.kubectl.helm("upgrade", stage.release, str(CHART), *stage.arguments())
    complaint = f"no pod was told to go within {ROLLOUT_SECONDS} s of the upgrade"
    until(lambda: not before <= stage.worker_names(), ROLLOUT_SECONDS, complaint)
    return before


def change_configuration(stage: Stage) -> set[str]:
    """Change a setting that the pods read, by ``helm upgrade``; returns the replaced pods' names."""
    before = stage.worker_names()
    stage.changes["agent.callMemoryLimitMiB"] = str(600 + time.time_ns() % 100)
    stage.install()
    return replaced(stage, before)


def restart(stage: Stage) -> set[str]:
    """``kubectl rollout restart`` of the workers; returns the replaced pods' names."""
    before = stage.worker_names()
    stage.kubectl.run("rollout", "restart", f"deployment/{stage.deployment}")
    return replaced(stage, before)


def upgrade_chart(stage: Stage) -> None:
    """``helm upgrade`` to the next version of the chart, with other values for whatever no pod reads.

    Raises:
        AssertionError: a pod was replaced nevertheless.
    """
    before = stage.pod_ids()
    with tempfile.TemporaryDirectory() as folder:
        chart = Path(shutil.copytree(CHART, Path(folder) / CHART.name))
        about = yaml.safe_load((chart / "Chart.yaml").read_text())
        for field in ("version", "appVersion"):
            about[field] = f"{about[field]}-next"
        (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
        stage.kubectl.install(stage.release, *stage.arguments("--set", UNREAD), chart=chart)
    if (now := stage.pod_ids()) != before:
        gone = sorted(before[uid] for uid in before.keys() - now.keys())
        raise AssertionError(f"the new chart replaced {gone}, though nothing has changed for them")


def wait_ready(stage: Stage) -> None:
    """Wait until as many workers are ready as there should be."""
    seconds = ROLLOUT_SECONDS
    stage.kubectl.run(
        "rollout", "status", f"deployment/{stage.deployment}", f"--timeout={seconds}s", timeout=seconds + 30
    )


def replaced(stage: Stage, before: set[str]) -> set[str]:
    """Wait until other workers than those named are ready, and return the names.

    Raises:
        AssertionError: one of the named is not to go.
    """
    wait_ready(stage)
    kept = before & stage.worker_names()
    if kept:
        raise AssertionError(f"the rollout did not replace {sorted(kept)}")
    return before


def scale(stage: Stage, replicas: int, first: str | None = None) -> set[str]:
    """Scale the workers, the pod ``first`` before all others; returns the names of the pods that must go.

    By helm, which owns the number of replicas here: after ``kubectl scale`` Helm 4 refuses every further upgrade.
    """
    before = stage.worker_names()
    if first:
        stage.kubectl.run("annotate", "pod", first, "controller.kubernetes.io/pod-deletion-cost=-1")
    stage.install("--set", f"replicas={replicas}")
    wait_ready(stage)
    return before - stage.worker_names()


def drain(stage: Stage, node: str, timeout: float = 300) -> None:
    """``kubectl drain`` a node of its worker pods, and wait until they are gone."""
    stage.kubectl.run(
        "drain",
        node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        f"--pod-selector={stage.selector}",
        f"--timeout={int(timeout)}s",
        timeout=timeout + 30,
    )


def uncordon(stage: Stage, node: str) -> None:
    """Let pods be scheduled to the node again."""
    stage.kubectl.run("uncordon", node)


def evict(stage: Stage, pod: str) -> None:
    """Ask the Eviction API for a pod's place, as autoscalers and node upgrades do; waits until the budget allows it."""
    path = f"/api/v1/namespaces/{stage.kubectl.namespace}/pods/{pod}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    stage.kubectl.run("create", "--raw", path, "-f", "-", stdin=json.dumps(body))


def delete(stage: Stage, pod: str, grace: int | None = None) -> None:
    """``kubectl delete pod``, with another grace period than the pod's own if one is given, in seconds."""
    shorter = () if grace is None else (f"--grace-period={grace}",)
    stage.kubectl.run("delete", "pod", pod, "--wait=false", *shorter)
