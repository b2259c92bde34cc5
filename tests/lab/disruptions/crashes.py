"""What ends pods and processes without a warning, done from the machine that they run on."""

from __future__ import annotations

import signal
import time

from lab import processes
from lab.stage import Stage


def _send(pids: list[int], number: signal.Signals) -> float:
    """Signal processes; returns when, wall-clock seconds: finding them took longer than anything that follows."""
    moment = time.time()
    processes.send(pids, number)
    return moment


def main_process(stage: Stage, pod: str) -> list[int]:
    """A pod's main process, for ``kill`` when the API server cannot be asked any more."""
    return processes.of_pod(stage.kubectl, pod)[:1]


def kill(pids: list[int]) -> float:
    """SIGKILL to processes.

    Returns:
        when, wall-clock seconds.
    """
    return _send(pids, signal.SIGKILL)


def kill_worker(stage: Stage, pod: str) -> float:
    """SIGKILL to a pod's main process, and with it, by the kernel, to all others: the container is restarted.

    Returns:
        when, wall-clock seconds.
    """
    return kill(main_process(stage, pod))


def run_out_of_memory(stage: Stage, pod: str) -> float:
    """SIGKILL to every process of the pod at once, as on cgroup v2 when its memory is used up (``memory.oom.group``).

    Returns:
        when, wall-clock seconds.
    """
    return kill(processes.of_pod(stage.kubectl, pod))


def kill_calls(stage: Stage, pod: str) -> float:
    """SIGKILL to every process of a pod that has a call or waits for one: the worker itself goes on.

    Returns:
        when, wall-clock seconds.
    """
    return kill(processes.of_calls(stage.kubectl, pod))


def terminate_twice(stage: Stage, pod: str) -> None:
    """SIGTERM to a worker's main process, and again a second later."""
    main = processes.of_pod(stage.kubectl, pod)[:1]
    processes.send(main, signal.SIGTERM)
    time.sleep(1)
    processes.send(main, signal.SIGTERM)


def terminate_group(stage: Stage, pod: str) -> None:
    """SIGTERM to every process of a pod, as some inits pass it on."""
    processes.send(processes.of_pod(stage.kubectl, pod), signal.SIGTERM)


def freeze(stage: Stage, pod: str) -> tuple[float, list[int]]:
    """SIGSTOP to every process of a pod.

    Returns:
        when, wall-clock seconds, and the processes, for ``thaw``.
    """
    pids = processes.of_pod(stage.kubectl, pod)
    return _send(pids, signal.SIGSTOP), pids


def thaw(pids: list[int]) -> None:
    """SIGCONT to processes that ``freeze`` stopped."""
    processes.send(pids, signal.SIGCONT)


def delete_now(stage: Stage, pods: set[str]) -> None:
    """Delete pods without any grace, and without waiting for their ends."""
    stage.kubectl.run("delete", "pod", *sorted(pods), "--grace-period=0", "--force", "--wait=false")
