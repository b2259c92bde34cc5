"""CoreDNS and metrics-server: processes beside the control plane, reached through Services.

The Services have no selector; an EndpointSlice names the bridge's address.
"""

from __future__ import annotations

import base64
from typing import Any

from lab.cluster.local import cgroups
from lab.cluster.local.credentials import Credentials
from lab.cluster.local.layout import (
    DNS_PORT,
    DNS_READY_PORT,
    DNS_SERVICE_ADDRESS,
    DOMAIN,
    HOST_ADDRESS,
    METRICS_PORT,
    STATE,
)
from lab.cluster.local.processes import Daemon
from lab.paths import tool

# Kept shorter than the default (60 s) so that an autoscaler in a test sees fresh numbers.
METRICS_RESOLUTION = "10s"


def coredns(credentials: Credentials) -> Daemon:
    """The cluster's name server. It answers for the cluster only, unless pods are let out."""
    corefile = STATE / "Corefile"
    corefile.write_text(
        f""".:{DNS_PORT} {{
    bind {HOST_ADDRESS}
    errors
    ready {HOST_ADDRESS}:{DNS_READY_PORT}
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {credentials.kubeconfig("coredns")}
    }}
    reload 2s 1s
}}
"""
    )
    return Daemon("coredns", [str(tool("coredns")), f"-conf={corefile}"], cgroups=cgroups.of_daemons("control-plane"))


def resolve_outside_names() -> None:
    """Let pods look up names outside of the cluster, as this machine does; CoreDNS notices the change by itself."""
    corefile = STATE / "Corefile"
    text = corefile.read_text()
    if "forward" not in text:
        corefile.write_text(text.replace("    errors\n", "    errors\n    forward . /etc/resolv.conf\n"))


def metrics_server(credentials: Credentials) -> Daemon:
    """What ``kubectl top`` and CPU-based autoscalers read."""
    kubeconfig = credentials.kubeconfig("metrics-server")
    serving = credentials.pair("metrics-server-serving")
    return Daemon(
        "metrics-server",
        [
            str(tool("metrics-server")),
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={HOST_ADDRESS}",
            f"--secure-port={METRICS_PORT}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--kubelet-certificate-authority={credentials.authority}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--metric-resolution={METRICS_RESOLUTION}",
            "--kubelet-request-timeout=5s",
        ],
        cgroups=cgroups.of_daemons("control-plane"),
    )


def _service(name: str, ports: list[tuple[str, str, int, int]], address: str | None) -> list[dict[str, Any]]:
    metadata = {"name": name, "namespace": "kube-system"}
    spec: dict[str, Any] = {
        "ports": [
            {"name": port, "protocol": protocol, "port": number, "targetPort": target}
            for port, protocol, number, target in ports
        ]
    }
    if address:
        spec["clusterIP"] = address
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                **metadata,
                "labels": {
                    "kubernetes.io/service-name": name,
                    "endpointslice.kubernetes.io/managed-by": "voice-agent-lab",
                },
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [HOST_ADDRESS], "conditions": {"ready": True}}],
            "ports": [{"name": port, "protocol": protocol, "port": target} for port, protocol, _, target in ports],
        },
    ]


def _role(name: str, user: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        },
        _binding("ClusterRoleBinding", name, "ClusterRole", name, user),
    ]


def _binding(
    kind: str, name: str, role_kind: str, role: str, user: str, namespace: str | None = None
) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}),
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def _rule(groups: list[str], resources: list[str], verbs: list[str]) -> dict[str, Any]:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


def manifests(credentials: Credentials) -> list[dict[str, Any]]:
    """Services, roles and the registration of the metrics API.

    The rules are those of the projects' own manifests (coredns/deployment, metrics-server components.yaml).
    """
    watch = ["get", "list", "watch"]
    authority = base64.b64encode(credentials.authority.read_bytes()).decode()
    dns, metrics = "system:coredns", "system:metrics-server"
    return [
        *_service("kube-dns", [("dns", "UDP", 53, DNS_PORT), ("dns-tcp", "TCP", 53, DNS_PORT)], DNS_SERVICE_ADDRESS),
        *_role(
            dns,
            dns,
            [
                _rule([""], ["services", "pods", "namespaces"], watch),
                _rule(["discovery.k8s.io"], ["endpointslices"], watch),
            ],
        ),
        *_service("metrics-server", [("https", "TCP", 443, METRICS_PORT)], None),
        *_role(
            metrics,
            metrics,
            [_rule([""], ["nodes/metrics"], ["get"]), _rule([""], ["pods", "nodes"], watch)],
        ),
        _binding(
            "ClusterRoleBinding",
            "metrics-server:system:auth-delegator",
            "ClusterRole",
            "system:auth-delegator",
            metrics,
        ),
        _binding(
            "RoleBinding",
            "metrics-server-auth-reader",
            "Role",
            "extension-apiserver-authentication-reader",
            metrics,
            "kube-system",
        ),
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {
                "name": "system:aggregated-metrics-reader",
                "labels": {
                    f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")
                },
            },
            "rules": [_rule(["metrics.k8s.io"], ["pods", "nodes"], watch)],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io"},
            "spec": {
                "group": "metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": authority,
                "service": {"name": "metrics-server", "namespace": "kube-system"},
            },
        },
    ]
