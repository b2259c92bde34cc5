"""One running cluster and one small workload for all tests that need them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.cluster import LAB_NAMESPACE, Cluster, get_cluster
from lab.cluster.tests.workload import HTTP_PORT, IMAGE, NODE_PORT, server_pod, service
from lab.images.scratch import write_archive
from lab.kubectl import Kubectl
from lab.paths import tool


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster, up; it is left up for the tests that come after these."""
    cluster = get_cluster()
    cluster.create()
    return cluster


@pytest.fixture(scope="session")
def kubectl(cluster: Cluster) -> Kubectl:
    return Kubectl(cluster.kubeconfig(), LAB_NAMESPACE)


@pytest.fixture(scope="session")
def servers(cluster: Cluster, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """One server pod on each node behind a Service of its own; node to the pod's name."""
    archive = tmp_path_factory.mktemp("images") / "cluster-test.tar"
    write_archive(archive, IMAGE, [tool("coredns"), tool("kubectl")])
    cluster.load_image(archive)
    names = {node: f"server-on-{node}" for node in cluster.nodes()}
    corefile = f".:5353 {{\n  log\n  health :{HTTP_PORT}\n}}\n"
    objects = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "cluster-test"},
            "data": {"Corefile": corefile},
        },
        *(server_pod(name, node) for node, name in names.items()),
        *(service(name, NODE_PORT + i) for i, name in enumerate(names.values())),
    ]
    kubectl.apply(*objects)
    try:
        kubectl.run("wait", "--for=condition=Ready", "--timeout=120s", "pod", *names.values())
        yield names
    finally:
        kubectl.run("delete", "--ignore-not-found", "configmap/cluster-test")
        for name in names.values():
            kubectl.run("delete", "--ignore-not-found", f"pod/{name}", f"service/{name}")
