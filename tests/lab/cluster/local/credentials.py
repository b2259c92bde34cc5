"""Which certificates and kubeconfigs the local cluster has, and whom they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.cluster.local.certificates import Authority, Pair, write_key, write_kubeconfig
from lab.cluster.local.layout import API_SERVICE_ADDRESS, API_URL, DOMAIN, HOST_ADDRESS, NODES, STATE

KUBECONFIG = STATE / "kubeconfig"

# This group may do anything: https://kubernetes.io/docs/reference/access-authn-authz/rbac/#user-facing-roles
MASTERS = "system:masters"

COMPONENTS = ("kube-controller-manager", "kube-scheduler", "kube-proxy", "coredns", "metrics-server")
"""Programs with a kubeconfig of their own, as the user ``system:NAME``."""


@dataclass(frozen=True)
class Credentials:
    """All certificates, keys and kubeconfigs of a cluster."""

    folder: Path = STATE / "pki"

    def pair(self, name: str) -> Pair:
        """One of the certificates and its key."""
        return Pair(self.folder / f"{name}.crt", self.folder / f"{name}.key")

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of a component or a node."""
        return self.folder / f"{name}.kubeconfig"

    @property
    def authority(self) -> Path:
        """The certificate that the API server, kubelets and their clients trust."""
        return self.pair("ca").certificate

    @property
    def service_accounts(self) -> Path:
        """The key that service accounts' tokens are signed and checked with."""
        return self.folder / "service-accounts.key"


def create() -> Credentials:
    """Make every certificate and kubeconfig anew."""
    credentials = Credentials()
    folder = credentials.folder
    authority = Authority(folder, "ca")
    etcd = Authority(folder, "etcd-ca")
    front_proxy = Authority(folder, "front-proxy-ca")
    write_key(credentials.service_accounts)

    etcd.sign("etcd", "etcd", hosts=[HOST_ADDRESS])
    etcd.sign("etcd-client", "kube-apiserver")
    front_proxy.sign("front-proxy-client", "front-proxy-client")
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", f"kubernetes.default.svc.{DOMAIN}"]
    authority.sign("kube-apiserver", "kube-apiserver", hosts=[*names, API_SERVICE_ADDRESS, HOST_ADDRESS])
    authority.sign("kubelet-client", "kube-apiserver", [MASTERS])
    authority.sign("metrics-server-serving", "metrics-server", hosts=["metrics-server.kube-system.svc"])
    for node in NODES:
        authority.sign(f"{node.name}-serving", node.name, hosts=[node.name, node.address])

    def client(file: Path, name: str, user: str, *groups: str) -> None:
        write_kubeconfig(file, API_URL, credentials.authority, authority.sign(name, user, groups))

    for name in COMPONENTS:
        client(credentials.kubeconfig(name), name, f"system:{name}")
    for node in NODES:
        client(credentials.kubeconfig(node.name), node.name, f"system:node:{node.name}", "system:nodes")
    client(KUBECONFIG, "admin", "admin", MASTERS)
    return credentials
