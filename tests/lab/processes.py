"""A pod's processes as this machine sees them, to end or freeze them as a crash does: without asking Kubernetes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from lab.kubectl import Kubectl

_PAUSE = "pause"


class NoProcessError(Exception):
    """The pod has no such process on this machine; the message says how that can be."""


def of_pod(kubectl: Kubectl, pod: str) -> list[int]:
    """The processes of the pod's containers, its main one first.

    Raises:
        NoProcessError: none is seen: the pod has ended, or its node is a virtual machine.
    """
    uid = kubectl.get("pod", pod)["metadata"]["uid"]
    # The kubelet's cgroup drivers spell it differently.
    found = [pid for pid, group in _groups() if uid in group.replace("_", "-") and _name(pid) != _PAUSE]
    if not found:
        raise NoProcessError(f"no process of pod {pod} is seen here: has it ended, or is its node a virtual machine?")
    return sorted(found, key=lambda pid: (_number_inside(pid) != 1, pid))


def of_calls(kubectl: Kubectl, pod: str) -> list[int]:
    """The processes of a worker pod's calls, those included that wait for one.

    Raises:
        NoProcessError: as `of_pod`.
    """
    main, *others = of_pod(kubectl, pod)
    # livekit-agents forks them from a server that the main process has started.
    return [pid for pid in others if parent(pid) != main]


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to processes; those that have ended meanwhile are passed over."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def parent(pid: int) -> int:
    """The number of a process' parent; 0 if the process has ended."""
    return _number(pid, "PPid:")


def _groups() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                yield int(folder.name), (folder / "cgroup").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue


def _name(pid: int) -> str:
    return _read(pid, "comm").strip()


def _number_inside(pid: int) -> int:
    """The process' number in its own container."""
    return _number(pid, "NSpid:")


def _number(pid: int, field: str) -> int:
    for line in _read(pid, "status").splitlines():
        if line.startswith(field):
            return int(line.split()[-1])
    return 0


def _read(pid: int, file: str) -> str:
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
