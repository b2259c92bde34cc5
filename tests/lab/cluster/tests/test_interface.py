"""What people see of a cluster: its choice by a setting, its status and its errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cluster import ClusterError, ClusterStatus, NodeStatus, ProcessStatus, get_cluster
from lab.cluster.kind import KindCluster
from lab.cluster.local import LocalCluster, images
from lab.cluster.local.layout import NODES

READY = NodeStatus("node-1", ready=True, address="10.213.0.11", pods=3)
LOST = NodeStatus("node-2", ready=False, address="10.213.0.12", pods=0)


def status(*nodes: NodeStatus, pid: int | None = 7) -> ClusterStatus:
    return ClusterStatus(True, Path("/kubeconfig"), nodes, (ProcessStatus("etcd", pid),), ("a note",))


@pytest.mark.parametrize(("name", "kind"), [("local", LocalCluster), ("kind", KindCluster)])
def test_a_setting_chooses_the_cluster(monkeypatch: pytest.MonkeyPatch, name: str, kind: type) -> None:
    monkeypatch.setenv("LAB_CLUSTER", name)
    assert isinstance(get_cluster(), kind)


def test_an_unknown_cluster_is_refused_with_its_name_and_the_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_CLUSTER", "minikube")
    with pytest.raises(ClusterError, match="LAB_CLUSTER=minikube: use local or kind"):
        get_cluster()


def test_status_shows_nodes_processes_and_how_to_connect() -> None:
    text = str(status(READY, LOST, pid=None))
    assert "node-1      Ready" in text
    assert "node-2      NotReady" in text
    assert "not running" in text
    assert "export KUBECONFIG=/kubeconfig" in text
    assert "Note: a note" in text


def test_status_of_no_cluster_says_how_to_start_one() -> None:
    assert "make up" in str(ClusterStatus(running=False, kubeconfig=Path("/kubeconfig")))


def test_only_a_whole_cluster_is_healthy() -> None:
    assert status(READY).healthy
    assert not status(READY, LOST).healthy
    assert not status(READY, pid=None).healthy
    assert not status().healthy


def test_an_unknown_node_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match="no node node-9: there are node-1, node-2"):
        LocalCluster().lose_node("node-9")


def test_a_file_that_is_no_image_is_refused_before_any_node_sees_it(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archive.write_text("no tar")
    with pytest.raises(ClusterError, match=r"image\.tar is no docker-archive"):
        images.load(archive, NODES)
