"""The control groups of the local cluster, on cgroup v1 and v2.

Everything is below one group: ``/vagent/system/…`` holds the daemons and ``/vagent/node-N`` is the
root that node N's kubelet works in. Whatever is found in there was started by the cluster, so that
all of it can be ended even when every other record is lost.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path

from lab.cluster.base import ClusterError
from lab.cluster.local.layout import CGROUP, NODES

ROOT = Path("/sys/fs/cgroup")
SYSTEM = "system"
CONTROL_PLANE = f"{SYSTEM}/control-plane"

# Accounts for nothing that matters here, so that joining it changes no daemon's share of the machine.
V1_TRACKING = ("pids", "freezer", "systemd")


def is_v2() -> bool:
    """Whether the host has the unified hierarchy."""
    return (ROOT / "cgroup.controllers").exists()


def _mounted(*kinds: str) -> list[Path]:
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in mounts if fields[2] in kinds]


def _hierarchies() -> list[Path]:
    return [ROOT] if is_v2() else _mounted("cgroup")


def _tracking() -> Path:
    if is_v2():
        return ROOT
    for hierarchy in _hierarchies():
        if hierarchy.name in V1_TRACKING:
            return hierarchy
    raise ClusterError(f"none of the cgroup hierarchies {', '.join(V1_TRACKING)} is mounted below {ROOT}")


def _set_up_v1(group: Path) -> None:
    for file in ("cpuset.cpus", "cpuset.mems"):
        # A new cpuset is empty, and nothing may join an empty one.
        if (group / file).exists():
            (group / file).write_text((group.parent / file).read_text())
    # kubelet gives all pods of a machine 1024 shares a core; the groups above must not take that back.
    if (shares := group / "cpu.shares").exists():
        shares.write_text(str(1024 * _cores()))


def _set_up_v2(group: Path) -> None:
    if (weight := group / "cpu.weight").exists():
        weight.write_text(str(min(100 * _cores(), 10_000)))
    for controller in (group / "cgroup.controllers").read_text().split():
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            raise ClusterError(
                f"{group}/cgroup.subtree_control refuses {controller} ({error.strerror}): in a container, "
                "move its processes out of the root group first, or give it the host's cgroup namespace"
            ) from error


def _cores() -> int:
    return os.cpu_count() or 1


def create() -> None:
    """Make the groups in every hierarchy."""
    if is_v2():
        _set_up_v2(ROOT)
    for hierarchy in _hierarchies():
        for name in ("", *(node.name for node in NODES)):
            group = hierarchy / CGROUP / name
            group.mkdir(exist_ok=True)
            if is_v2():
                _set_up_v2(group)
            else:
                _set_up_v1(group)
    for name in (SYSTEM, CONTROL_PLANE, *(f"{SYSTEM}/{node.name}" for node in NODES)):
        (_tracking() / CGROUP / name).mkdir(exist_ok=True)


def of_daemons(name: str) -> tuple[Path, ...]:
    """The groups that a daemon joins: of the control plane, or of one node."""
    return (_tracking() / CGROUP / SYSTEM / name,)


def members(name: str = "") -> set[int]:
    """The processes in a group below ours and in all groups below that one."""
    found: set[int] = set()
    for folder, _, files in os.walk(_tracking() / CGROUP / name):
        if "cgroup.procs" in files:
            try:
                found.update(int(pid) for pid in (Path(folder) / "cgroup.procs").read_text().split())
            except OSError:
                # The group went away between the listing and the reading.
                continue
    return found


def kill(*names: str, seconds: float = 15) -> None:
    """Kill every process in the named groups, or in all of ours, and wait until they are gone.

    Raises:
        ClusterError: a process survived, which only one that hangs in the kernel does.
    """
    deadline = time.monotonic() + seconds
    while pids := set[int]().union(*(members(name) for name in names or ("",))):
        if time.monotonic() > deadline:
            raise ClusterError(f"these processes cannot be killed: {sorted(pids)}; look at `ps -o pid,stat,wchan`")
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
                # Children of this very process stay until they are waited for.
                os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                continue
        time.sleep(0.05)


def remove(name: str = "", seconds: float = 15) -> None:
    """Remove a group and all below it, which must hold no process any more.

    Raises:
        ClusterError: a group stayed busy.
    """
    deadline = time.monotonic() + seconds
    # On a v1 host runc also makes its groups in the v2 hierarchy that may be mounted beside.
    for hierarchy in _mounted("cgroup", "cgroup2"):
        for folder, _, _ in os.walk(hierarchy / CGROUP / name, topdown=False):
            while not _removed(Path(folder)):
                if time.monotonic() > deadline:
                    raise ClusterError(f"{folder} cannot be removed; look at its cgroup.procs")
                time.sleep(0.05)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError as error:
        # A killed process counts until its parent has waited for it.
        if error.errno == errno.EBUSY:
            return False
        raise
    return True
