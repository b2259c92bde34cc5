"""etcd, the API server, the controller manager and the scheduler: processes on the bridge's address."""

from __future__ import annotations

from lab.cluster.local import cgroups
from lab.cluster.local.credentials import Credentials
from lab.cluster.local.layout import (
    API_PORT,
    CONTROLLER_MANAGER_PORT,
    DOMAIN,
    ETCD_PEER_PORT,
    ETCD_PORT,
    HOST_ADDRESS,
    POD_NETWORK,
    SCHEDULER_PORT,
    SERVICE_NETWORK,
    STATE,
)
from lab.cluster.local.processes import Daemon
from lab.paths import tool

# Shorter than Kubernetes' defaults (50 s, 5 s and 15 s) so that tests of losses need not wait as long.
NODE_MONITOR_GRACE = "20s"
NODE_MONITOR_PERIOD = "2s"
HPA_SYNC_PERIOD = "10s"


def _daemon(name: str, *flags: str) -> Daemon:
    return Daemon(name, [str(tool(name)), *flags], cgroups=cgroups.of_daemons("control-plane"))


def etcd(credentials: Credentials) -> Daemon:
    """One etcd that does not wait for the disk: it holds nothing that a test needs after a crash."""
    pair, authority = credentials.pair("etcd"), credentials.pair("etcd-ca").certificate
    client, peer = (f"https://{HOST_ADDRESS}:{port}" for port in (ETCD_PORT, ETCD_PEER_PORT))
    return _daemon(
        "etcd",
        f"--data-dir={STATE / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--cert-file={pair.certificate}",
        f"--key-file={pair.key}",
        f"--trusted-ca-file={authority}",
        "--client-cert-auth",
        f"--peer-cert-file={pair.certificate}",
        f"--peer-key-file={pair.key}",
        f"--peer-trusted-ca-file={authority}",
        "--peer-client-cert-auth",
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def api_server(credentials: Credentials) -> Daemon:
    """The API server, with RBAC, node restriction and Pod Security admission (on by default)."""
    serving, front_proxy = credentials.pair("kube-apiserver"), credentials.pair("front-proxy-client")
    etcd_client, kubelet_client = credentials.pair("etcd-client"), credentials.pair("kubelet-client")
    return _daemon(
        "kube-apiserver",
        f"--bind-address={HOST_ADDRESS}",
        f"--advertise-address={HOST_ADDRESS}",
        f"--secure-port={API_PORT}",
        f"--tls-cert-file={serving.certificate}",
        f"--tls-private-key-file={serving.key}",
        f"--client-ca-file={credentials.authority}",
        f"--etcd-servers=https://{HOST_ADDRESS}:{ETCD_PORT}",
        f"--etcd-cafile={credentials.pair('etcd-ca').certificate}",
        f"--etcd-certfile={etcd_client.certificate}",
        f"--etcd-keyfile={etcd_client.key}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
        f"--service-account-key-file={credentials.service_accounts}",
        f"--service-account-signing-key-file={credentials.service_accounts}",
        f"--kubelet-client-certificate={kubelet_client.certificate}",
        f"--kubelet-client-key={kubelet_client.key}",
        f"--kubelet-certificate-authority={credentials.authority}",
        # Nothing outside of the cluster resolves node names.
        "--kubelet-preferred-address-types=InternalIP",
        f"--requestheader-client-ca-file={credentials.pair('front-proxy-ca').certificate}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={front_proxy.certificate}",
        f"--proxy-client-key-file={front_proxy.key}",
        # Service addresses exist on the nodes only: aggregated APIs are reached at their endpoints.
        "--enable-aggregator-routing",
        "--allow-privileged",
    )


def controller_manager(credentials: Credentials) -> Daemon:
    """The controller manager, with clocks that notice losses sooner than production's."""
    kubeconfig = credentials.kubeconfig("kube-controller-manager")
    authority = credentials.pair("ca")
    return _daemon(
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={HOST_ADDRESS}",
        f"--secure-port={CONTROLLER_MANAGER_PORT}",
        f"--root-ca-file={credentials.authority}",
        f"--service-account-private-key-file={credentials.service_accounts}",
        f"--cluster-signing-cert-file={authority.certificate}",
        f"--cluster-signing-key-file={authority.key}",
        f"--cluster-cidr={POD_NETWORK}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        f"--horizontal-pod-autoscaler-sync-period={HPA_SYNC_PERIOD}",
        f"--node-monitor-period={NODE_MONITOR_PERIOD}",
        f"--node-monitor-grace-period={NODE_MONITOR_GRACE}",
    )


def scheduler(credentials: Credentials) -> Daemon:
    """The scheduler as it comes."""
    kubeconfig = credentials.kubeconfig("kube-scheduler")
    return _daemon(
        "kube-scheduler",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={HOST_ADDRESS}",
        f"--secure-port={SCHEDULER_PORT}",
        "--leader-elect=false",
    )
