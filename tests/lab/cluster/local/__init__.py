"""Two real nodes on one Linux machine, from Go-built Kubernetes and Debian's containerd."""

from __future__ import annotations

from lab.cluster.local.cluster import LocalCluster

__all__ = ["LocalCluster"]
