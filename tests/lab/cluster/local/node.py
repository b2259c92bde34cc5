"""One node: containerd, kubelet and kube-proxy with their configuration files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from lab.cluster.local import cgroups
from lab.cluster.local.credentials import Credentials
from lab.cluster.local.layout import (
    CGROUP,
    CNI_NETWORK,
    DNS_SERVICE_ADDRESS,
    DOMAIN,
    PAUSE_IMAGE,
    POD_NETWORK,
    Node,
)
from lab.cluster.local.packages import CNI_PLUGINS
from lab.cluster.local.processes import Daemon
from lab.paths import tool

CAP_SYS_RESOURCE = 24
# Not below the kubelet's --root-dir: Kubernetes 1.35, staging/src/k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1.
_DEVICE_PLUGINS_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")


def _may_raise_limits() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> CAP_SYS_RESOURCE & 1)


def _containerd_config(node: Node) -> str:
    folder = node.state / "containerd"
    # Without CAP_SYS_RESOURCE runc cannot lower a sandbox's OOM score, and every sandbox fails with
    # "can't get final child's PID from pipe: EOF".
    restrict = str(not _may_raise_limits()).lower()
    return f"""\
version = 2
root = "{folder / "root"}"
state = "{folder / "state"}"

[grpc]
  address = "{node.socket}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{folder / "opt"}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = {restrict}
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{node.state / "cni"}"

  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{folder / "runc"}"
      SystemdCgroup = false
"""


def _cni_config(node: Node) -> dict[str, Any]:
    return {
        "cniVersion": "0.4.0",
        "name": CNI_NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": True,
                "hairpinMode": True,
                # Pods keep their addresses on their way to other nodes and to the host.
                "ipMasq": False,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": node.pod_network}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(node.state / "addresses"),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet_config(node: Node, credentials: Credentials) -> dict[str, Any]:
    serving = credentials.pair(f"{node.name}-serving")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(credentials.authority)},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(serving.certificate),
        "tlsPrivateKeyFile": str(serving.key),
        "containerRuntimeEndpoint": f"unix://{node.socket}",
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "clusterDomain": DOMAIN,
        # The host's resolver and search domains must not leak into pods.
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}/{node.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(node.state / "pod-logs"),
        "volumePluginDir": str(node.state / "volume-plugins"),
        # The nodes share the developer's disk: how full it is says nothing about the pods.
        "localStorageCapacityIsolation": False,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        # Images come from no registry: one that was collected would be gone for good.
        "imageGCHighThresholdPercent": 100,
        "imageMaximumGCAge": "0s",
        # Shorter than the defaults (10 s and 40 s) so that a lost node is noticed sooner.
        "nodeStatusUpdateFrequency": "5s",
        "nodeLeaseDurationSeconds": 12,
    }


def _proxy_config(node: Node, credentials: Credentials) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": node.address,
        "healthzBindAddress": f"{node.address}:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": node.name,
        "clientConnection": {"kubeconfig": str(credentials.kubeconfig("kube-proxy"))},
        "mode": "iptables",
        "clusterCIDR": POD_NETWORK,
        # The table of connections belongs to the whole machine: leave its size alone.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    }


def write_configuration(node: Node, credentials: Credentials) -> None:
    """Write the configuration files of everything that runs on a node."""
    for folder in ("cni", "kubelet", "addresses", "volume-plugins", "pod-logs"):
        (node.state / folder).mkdir(parents=True, exist_ok=True)
    (node.state / "containerd.toml").write_text(_containerd_config(node))
    (node.state / "cni" / "10-lab.conflist").write_text(json.dumps(_cni_config(node), indent=2))
    (node.state / "kubelet.yaml").write_text(yaml.safe_dump(_kubelet_config(node, credentials)))
    (node.state / "kube-proxy.yaml").write_text(yaml.safe_dump(_proxy_config(node, credentials)))


def _daemon(node: Node, program: str, command: list[str]) -> Daemon:
    return Daemon(f"{node.name}-{program}", command, netns=node.netns, cgroups=cgroups.of_daemons(node.name))


def containerd(node: Node) -> Daemon:
    """The node's own containerd."""
    return _daemon(node, "containerd", ["containerd", f"--config={node.state / 'containerd.toml'}"])


def socket_made_at() -> int | None:
    """When the kubelets' socket for device plugins was made, in nanoseconds; None if it is not there."""
    try:
        return _DEVICE_PLUGINS_SOCKET.stat().st_ctime_ns
    except FileNotFoundError:
        return None


def kubelet(node: Node, credentials: Credentials) -> Daemon:
    """The node's kubelet; it registers the node with the labels that a cloud's nodes have."""
    labels = {
        "topology.kubernetes.io/region": "local",
        "topology.kubernetes.io/zone": node.zone,
        "node.kubernetes.io/instance-type": "lab",
    }
    return _daemon(
        node,
        "kubelet",
        [
            str(tool("kubelet")),
            f"--config={node.state / 'kubelet.yaml'}",
            f"--kubeconfig={credentials.kubeconfig(node.name)}",
            f"--root-dir={node.state / 'kubelet'}",
            f"--cert-dir={node.state / 'kubelet' / 'pki'}",
            f"--hostname-override={node.name}",
            f"--node-ip={node.address}",
            f"--node-labels={','.join(f'{key}={value}' for key, value in labels.items())}",
        ],
    )


def kube_proxy(node: Node) -> Daemon:
    """The node's kube-proxy."""
    return _daemon(node, "kube-proxy", [str(tool("kube-proxy")), f"--config={node.state / 'kube-proxy.yaml'}"])
