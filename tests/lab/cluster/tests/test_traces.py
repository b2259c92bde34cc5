"""The local cluster leaves nothing on the machine, also after it was killed.

These tests take the cluster down and bring it up anew: whatever ran on it is gone.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cluster import LAB_NAMESPACE
from lab.cluster.local import LocalCluster, cgroups
from lab.cluster.local.host import FIXED_FOLDERS, SYSCTLS
from lab.cluster.local.layout import CGROUP, STATE
from lab.kubectl import Kubectl

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="the local cluster needs root"),
]

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  nodeName: NAME
  containers: [{name: pause, image: lab.local/pause:1}]
"""


def _lines(*command: str) -> set[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def _processes() -> set[str]:
    """The command lines that have to do with the cluster: all name its folder, a binary or a container."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if any(word in command for word in (str(STATE), "containerd-shim", "/pause ")):
            found.add(command)
    return found


def traces() -> dict[str, set[str]]:
    """All that a cluster may leave on the machine."""
    return {
        "processes": _processes(),
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "links": {path.name for path in Path("/sys/class/net").iterdir()},
        "namespaces": _lines("ip", "netns", "list"),
        "routes": _lines("ip", "route", "show", "table", "all"),
        "rules": {line for line in _lines("iptables-save") if line.startswith("-")},
        "cgroups": {folder for folder, _, _ in os.walk(cgroups.ROOT) if CGROUP in folder},
        "sysctls": {f"{name}={Path('/proc/sys', name).read_text().strip()}" for name in SYSCTLS},
        "files": {str(path) for root in (*FIXED_FOLDERS, Path("/run/netns")) for path in root.rglob("*")},
        "folders": {str(path) for path in (*FIXED_FOLDERS, Path("/run/netns")) if path.exists()},
        "state": {path.name for path in STATE.glob("*") if path.name != "logs"},
    }


def _run_pods(cluster: LocalCluster) -> None:
    kubectl = Kubectl(cluster.kubeconfig(), LAB_NAMESPACE)
    for node in cluster.nodes():
        kubectl.run("apply", "-f", "-", stdin=POD.replace("NAME", node))
        kubectl.run("wait", "--for=condition=Ready", "--timeout=120s", f"pod/{node}")


@pytest.fixture(scope="module")
def before() -> Iterator[dict[str, set[str]]]:
    """The machine without a cluster; the cluster is up again afterwards, as other tests expect."""
    cluster = LocalCluster()
    cluster.destroy()
    yield traces()
    cluster.create()


def test_down_leaves_nothing_behind(before: dict[str, set[str]]) -> None:
    cluster = LocalCluster()
    cluster.create()
    cluster.allow_egress()
    _run_pods(cluster)
    running = traces()
    assert all(running[kind] != before[kind] for kind in ("processes", "mounts", "links", "cgroups", "rules"))
    cluster.destroy()
    assert traces() == before


def test_up_recovers_from_a_crash_and_down_still_leaves_nothing(before: dict[str, set[str]]) -> None:
    cluster = LocalCluster()
    cluster.create()
    _run_pods(cluster)
    for pid in cgroups.members(cgroups.SYSTEM):
        os.kill(pid, signal.SIGKILL)
    assert not LocalCluster().status().healthy
    cluster = LocalCluster()
    cluster.create()
    assert cluster.status().healthy
    assert sum(node.pods for node in cluster.status().nodes) == 0
    _run_pods(cluster)
    cluster.destroy()
    assert traces() == before


def test_nothing_is_removed_when_there_is_no_cluster(before: dict[str, set[str]]) -> None:
    LocalCluster().destroy()
    assert traces() == before
