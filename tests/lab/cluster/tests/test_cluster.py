"""What the product needs of a cluster, asked of the running one."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from functools import partial
from typing import Any

import pytest

from lab.cluster import PRODUCT_NAMESPACE, Cluster
from lab.cluster.tests.waiting import until, until_equal
from lab.cluster.tests.workload import IMAGE, NODE_PORT, server_pod
from lab.kubectl import CommandError, Kubectl

pytestmark = pytest.mark.cluster


def http(url: str) -> str:
    try:
        return _http(url)
    except OSError as error:
        return str(error)


def _http(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 (an address of our own)
        body: bytes = response.read()
    return body.decode()


def answer(kubectl: Kubectl, *args: str) -> str:
    """What kubectl says, its error included."""
    try:
        return kubectl.run(*args)
    except CommandError as error:
        return str(error)


def test_every_node_is_ready_in_a_zone_of_its_own(cluster: Cluster, kubectl: Kubectl) -> None:
    assert cluster.status().healthy
    labels = [node["metadata"]["labels"] for node in kubectl.items("nodes")]
    assert len({label["topology.kubernetes.io/zone"] for label in labels}) == len(cluster.nodes()) == 2
    assert {label["kubernetes.io/os"] for label in labels} == {"linux"}


def test_a_second_up_leaves_running_pods_alone(cluster: Cluster, kubectl: Kubectl, servers: dict[str, str]) -> None:
    before = [pod["metadata"]["uid"] for pod in kubectl.items("pods")]
    cluster.create()
    assert [pod["metadata"]["uid"] for pod in kubectl.items("pods")] == before


def test_up_starts_a_dead_process_again_and_keeps_the_pods(
    cluster: Cluster, kubectl: Kubectl, servers: dict[str, str]
) -> None:
    before = [pod["metadata"]["uid"] for pod in kubectl.items("pods")]
    pids = {process.name: process.pid for process in cluster.status().processes}
    victims = [name for name in ("kube-scheduler", "coredns", "node-2-kubelet") if name in pids]
    for name in victims:
        os.kill(pids[name] or 0, signal.SIGKILL)
    until("the victims are dead", lambda: cluster.status().healthy == (not victims))
    cluster.create()
    assert cluster.status().healthy
    assert [pod["metadata"]["uid"] for pod in kubectl.items("pods")] == before


def test_pods_reach_a_service_by_name_across_nodes(kubectl: Kubectl, servers: dict[str, str]) -> None:
    first, second = servers.values()
    for client, server in ((first, second), (second, first), (first, first)):
        url = f"--server=http://{server}.lab.svc.cluster.local"
        request = ("exec", client, "--", "/kubectl", url, "get", "--raw=/health")
        # A Service refuses connections until every kube-proxy has heard of the ready pod.
        until_equal(f"{client} reaches {url}", "OK", partial(answer, kubectl, *request))


def test_the_host_reaches_pods_and_node_ports(cluster: Cluster, kubectl: Kubectl, servers: dict[str, str]) -> None:
    for i, name in enumerate(servers.values()):
        address = kubectl.get("pod", name)["status"]["podIP"]
        assert http(f"http://{address}:8080/health") == "OK"
        for node in cluster.nodes():
            url = f"http://{cluster.node_address(node)}:{NODE_PORT + i}/health"
            until_equal(url, "OK", partial(http, url))


def test_logs_and_exec_work_on_every_node(kubectl: Kubectl, servers: dict[str, str]) -> None:
    for name in servers.values():
        assert "CoreDNS" in kubectl.run("logs", name)
        assert "CoreDNS" in kubectl.run("exec", name, "--", "/coredns", "-version")


def test_top_shows_nodes_and_pods(kubectl: Kubectl, servers: dict[str, str]) -> None:
    def shown() -> bool:
        text = answer(kubectl, "top", "nodes") + answer(kubectl, "top", "pods")
        return all(node in text and pod in text for node, pod in servers.items())

    until("kubectl top shows nodes and pods", shown)


def test_an_autoscaler_reads_cpu(kubectl: Kubectl, servers: dict[str, str]) -> None:
    pod: dict[str, Any] = server_pod("scaled", "node-1")
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scaled"},
        "spec": {
            "selector": {"matchLabels": pod["metadata"]["labels"]},
            "template": {"metadata": pod["metadata"], "spec": pod["spec"]},
        },
    }
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"},
            "maxReplicas": 2,
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 9000},
                    },
                }
            ],
        },
    }
    kubectl.apply(deployment, autoscaler)
    try:
        until(
            "the autoscaler reads CPU",
            lambda: "current" in json.dumps(kubectl.get("hpa", "scaled")["status"].get("currentMetrics", "")),
        )
    finally:
        kubectl.run("delete", "deployment/scaled", "hpa/scaled")


def test_the_products_namespace_refuses_a_privileged_pod(kubectl: Kubectl) -> None:
    product = kubectl.in_namespace(PRODUCT_NAMESPACE)
    with pytest.raises(CommandError, match='violates PodSecurity "restricted'):
        product.run("run", "privileged", f"--image={IMAGE}", "--privileged", "--dry-run=server")
    with pytest.raises(CommandError, match='violates PodSecurity "baseline'):
        kubectl.run("run", "privileged", f"--image={IMAGE}", "--privileged", "--dry-run=server")


def test_a_service_account_may_do_nothing_that_no_role_allows(kubectl: Kubectl) -> None:
    user = f"--as=system:serviceaccount:{PRODUCT_NAMESPACE}:default"
    with pytest.raises(CommandError, match="no"):
        kubectl.run("auth", "can-i", "list", "secrets", user)


def test_a_lost_node_is_noticed_and_comes_back(cluster: Cluster, kubectl: Kubectl, servers: dict[str, str]) -> None:
    node, other = cluster.nodes()
    lost = servers[node]

    def ready(name: str) -> bool:
        return next(n.ready for n in cluster.status().nodes if n.name == name)

    def serves() -> bool:
        return "linux/" in answer(kubectl, "exec", lost, "--", "/coredns", "-version")

    assert serves()
    cluster.lose_node(node)
    try:
        assert not serves()
        until(f"{node} is NotReady", lambda: not ready(node))
        assert ready(other)
        assert not cluster.status().healthy
    finally:
        cluster.restore_node(node)
    assert ready(node)
    until("the node's pod serves again", serves)
