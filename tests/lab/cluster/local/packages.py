"""The Debian packages that the local cluster needs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lab.cluster.base import ClusterError
from lab.cluster.local.progress import Progress

CNI_PLUGINS = Path("/usr/lib/cni")

# Debian keeps administrators' programs where a user's PATH often does not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

PACKAGES = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "mount": "mount",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
}
"""Program to the package that holds it."""


def missing() -> list[str]:
    """The packages of which a program is not there."""
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=SEARCH_PATH) is None})


def ensure(progress: Progress) -> None:
    """Install what is missing.

    Raises:
        ClusterError: not root, no apt-get, or apt-get failed; the message names the packages.
    """
    wanted = missing()
    if not wanted:
        return
    command = ["apt-get", "install", "-y", "--no-install-recommends", *wanted]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"packages are missing: {', '.join(wanted)}. On Debian or Ubuntu: sudo {' '.join(command)}")
    progress(f"installing {', '.join(wanted)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "-q"], command):
        done = subprocess.run(step, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if still := missing():
        raise ClusterError(f"{', '.join(still)} installed, but a program of it is not where Debian has it")
