"""The Kubernetes cluster under the demo and the tests: one interface, a local and a kind implementation."""

from __future__ import annotations

import os
import sys

from lab.cluster.base import (
    LAB_NAMESPACE,
    PRODUCT_NAMESPACE,
    Cluster,
    ClusterError,
    ClusterStatus,
    NodeStatus,
    ProcessStatus,
)
from lab.cluster.kind import KindCluster
from lab.cluster.local import LocalCluster

__all__ = [
    "LAB_NAMESPACE",
    "PRODUCT_NAMESPACE",
    "Cluster",
    "ClusterError",
    "ClusterStatus",
    "NodeStatus",
    "ProcessStatus",
    "get_cluster",
]


def get_cluster() -> Cluster:
    """The cluster that ``LAB_CLUSTER`` names: ``local`` (the default for root on Linux) or ``kind``.

    Raises:
        ClusterError: ``LAB_CLUSTER`` names neither.
    """
    default = "local" if sys.platform == "linux" and os.geteuid() == 0 else "kind"
    name = os.environ.get("LAB_CLUSTER", default)
    if name == "local":
        return LocalCluster()
    if name == "kind":
        return KindCluster()
    raise ClusterError(f"LAB_CLUSTER={name}: use local or kind")
