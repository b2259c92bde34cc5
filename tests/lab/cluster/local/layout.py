"""Names, addresses and folders of the local cluster: the one place that decides them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lab.paths import BUILD

STATE = BUILD / "cluster"
LOGS = STATE / "logs"
LOCK = BUILD / "cluster.lock"

# Taken from the middle of 10.0.0.0/8, where home, office and container networks rarely are.
BRIDGE = "vagent0"
HOST_ADDRESS = "10.213.0.1"
NODE_NETWORK_BITS = 24
POD_NETWORK = "10.214.0.0/16"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
DNS_SERVICE_ADDRESS = "10.96.0.10"
DOMAIN = "cluster.local"

# On the bridge's own address no port can collide with one of the host's services.
API_PORT = 6443
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
DNS_PORT = 10053
DNS_READY_PORT = 8181
METRICS_PORT = 10443

API_URL = f"https://{HOST_ADDRESS}:{API_PORT}"

CGROUP = "vagent"
CNI_NETWORK = "vagent"
PAUSE_IMAGE = "lab.local/pause:1"


@dataclass(frozen=True)
class Node:
    """One node: a network namespace with a containerd, a kubelet and a kube-proxy of its own."""

    index: int

    @property
    def name(self) -> str:
        """The node's name in Kubernetes."""
        return f"node-{self.index}"

    @property
    def zone(self) -> str:
        """The zone it is labelled with; every node has another one."""
        return f"local-{'abcdefgh'[self.index - 1]}"

    @property
    def netns(self) -> str:
        """The name of its network namespace."""
        return f"vagent-{self.name}"

    @property
    def veth(self) -> str:
        """The host's end of its cable to the bridge."""
        return f"vagent{self.index}"

    @property
    def address(self) -> str:
        """Its address on the node network."""
        return f"10.213.0.{10 + self.index}"

    @property
    def pod_network(self) -> str:
        """The subnet of its pods."""
        return f"10.214.{self.index}.0/24"

    @property
    def state(self) -> Path:
        """The folder of everything that runs on the node."""
        return STATE / self.name

    @property
    def socket(self) -> Path:
        """Its containerd's socket."""
        return self.state / "containerd.sock"


NODES = (Node(1), Node(2))


def node(name: str) -> Node:
    """The node of that name.

    Raises:
        ValueError: there is none.
    """
    for candidate in NODES:
        if candidate.name == name:
            return candidate
    raise ValueError(f"no node {name}: there are {', '.join(n.name for n in NODES)}")
