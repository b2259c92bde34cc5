"""The Debian packages that the local cluster needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lab import packages
from lab.cluster.base import ClusterError
from lab.cluster.local.progress import Progress
from lab.packages import SEARCH_PATH

__all__ = ["CNI_PLUGINS", "PACKAGES", "SEARCH_PATH", "ensure", "missing"]

CNI_PLUGINS = Path("/usr/lib/cni")

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
    return packages.missing(PACKAGES)


def ensure(progress: Progress, needed: Mapping[str, str] | None = None) -> None:
    """Install what is missing.

    Args:
        progress: is told what is installed.
        needed: program to the package that holds it; None for what every cluster needs.

    Raises:
        ClusterError: not root, no apt-get, or apt-get failed; the message names the packages.
    """
    try:
        packages.ensure(PACKAGES if needed is None else needed, progress)
    except packages.MissingPackagesError as error:
        raise ClusterError(str(error)) from error
