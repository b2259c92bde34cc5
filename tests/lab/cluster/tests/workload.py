"""A small workload for the cluster's tests: a server that is also a client."""

from __future__ import annotations

from typing import Any

IMAGE = "lab.local/cluster-test:1"
HTTP_PORT = 8080
NODE_PORT = 30981


def server_pod(name: str, node: str) -> dict[str, Any]:
    """A pod that answers OK over HTTP, can resolve names and run kubectl as an HTTP client."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "server",
                    "image": IMAGE,
                    "args": ["-conf=/etc/coredns/Corefile"],
                    "ports": [{"containerPort": HTTP_PORT}],
                    "readinessProbe": {"httpGet": {"path": "/health", "port": HTTP_PORT}, "periodSeconds": 1},
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                    "volumeMounts": [{"name": "corefile", "mountPath": "/etc/coredns"}],
                }
            ],
            "volumes": [{"name": "corefile", "configMap": {"name": "cluster-test"}}],
        },
    }


def service(name: str, node_port: int | None = None) -> dict[str, Any]:
    """A Service in front of the pod of the same name."""
    port: dict[str, Any] = {"port": 80, "targetPort": HTTP_PORT}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "type": "NodePort" if node_port else "ClusterIP",
            "ports": [port | ({"nodePort": node_port} if node_port else {})],
        },
    }
