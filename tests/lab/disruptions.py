"""What happens to a fleet in production, done on purpose while calls are live."""

from __future__ import annotations

import json
import signal
import time

from lab import processes
from lab.stage import DEPLOYMENT, WORKERS, Stage


def rolling_upgrade(stage: Stage, *args: str) -> set[str]:
    """Replace every pod by ``helm upgrade``; returns the replaced pods' names, which may still be draining."""
    before = stage.worker_names()
    stage.install("--set-string", f"podAnnotations.voice-agent/revision={time.time_ns()}", *args)
    stage.kubectl.run("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=300s", timeout=330)
    kept = before & stage.worker_names()
    if kept:
        raise AssertionError(f"the upgrade did not replace {sorted(kept)}")
    return before


def scale(stage: Stage, replicas: int, first: str | None = None) -> set[str]:
    """Scale the workers, the pod ``first`` before all others; returns the names of the pods that must go.

    By helm, which owns the number of replicas here: after ``kubectl scale`` Helm 4 refuses every further upgrade.
    """
    before = stage.worker_names()
    if first:
        stage.kubectl.run("annotate", "pod", first, "controller.kubernetes.io/pod-deletion-cost=-1")
    stage.install("--set", f"replicas={replicas}")
    stage.kubectl.run("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=300s", timeout=330)
    return before - stage.worker_names()


def drain(stage: Stage, node: str, timeout: float = 300) -> None:
    """``kubectl drain`` a node of its worker pods, and wait until they are gone."""
    stage.kubectl.run(
        "drain",
        node,
        "--ignore-daemonsets",
        "--delete-emptydir-data",
        f"--pod-selector={WORKERS}",
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


def kill_worker(stage: Stage, pod: str) -> None:
    """SIGKILL to a worker's main process, and with it, by the kernel, to every call's: the container is restarted."""
    processes.send(processes.of_pod(stage.kubectl, pod)[:1], signal.SIGKILL)


def freeze(stage: Stage, pod: str) -> list[int]:
    """SIGSTOP to every process of a pod; returns them, for ``thaw``."""
    pids = processes.of_pod(stage.kubectl, pod)
    processes.send(pids, signal.SIGSTOP)
    return pids


def thaw(pids: list[int]) -> None:
    """SIGCONT to processes that ``freeze`` stopped."""
    processes.send(pids, signal.SIGCONT)


def kill(stage: Stage, pods: set[str]) -> None:
    """Kill pods without any grace, as a crash would."""
    stage.kubectl.run("delete", "pod", *sorted(pods), "--grace-period=0", "--force", "--wait=false")
