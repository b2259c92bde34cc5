"""The node network: a bridge on the host and a network namespace with one cable per node."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.cluster.base import ClusterError
from lab.cluster.local import layout
from lab.cluster.local.layout import BRIDGE, HOST_ADDRESS, NODE_NETWORK_BITS, NODES, POD_NETWORK, Node
from lab.cluster.local.packages import SEARCH_PATH

NETNS_FOLDER = Path("/run/netns")

# Frames between nodes pass the host's FORWARD chain (br_netfilter), whose policy dockerd sets to DROP.
FORWARD_RULE = (
    "FORWARD", "-i", BRIDGE, "-o", BRIDGE, "-m", "comment", "--comment", "voice-agent lab cluster",
    "-j", "ACCEPT",
)  # fmt: skip

# A chain of every node's own, so that it can be emptied at once.
PARTING = "VAGENT-PARTING"

# Only for a demo with the real services: tests reach nothing but their own nodes.
EGRESS_RULES = (
    ("nat", "POSTROUTING", "-s", POD_NETWORK, "!", "-o", BRIDGE, "-m", "comment", "--comment",
     "voice-agent lab cluster", "-j", "MASQUERADE"),
    ("filter", "FORWARD", "-i", BRIDGE, "!", "-o", BRIDGE, "-m", "comment", "--comment",
     "voice-agent lab cluster", "-j", "ACCEPT"),
    ("filter", "FORWARD", "-o", BRIDGE, "-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-m", "comment",
     "--comment", "voice-agent lab cluster", "-j", "ACCEPT"),
)  # fmt: skip


def _done(command: Sequence[str], check: bool) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": SEARCH_PATH})
    if check and done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done


def _run(*command: str, check: bool = True) -> bool:
    return _done(command, check).returncode == 0


def _enter(node: Node) -> list[str]:
    return ["nsenter", f"--net={NETNS_FOLDER / node.netns}", "--"]


def _inside(node: Node, *command: str, check: bool = True) -> bool:
    return _run(*_enter(node), *command, check=check)


def inside(node: Node, *command: str) -> str:
    """What a command prints in the node's network.

    Raises:
        ClusterError: it failed.
    """
    return _done([*_enter(node), *command], check=True).stdout


def create() -> None:
    """Make the bridge, the namespaces, the cables and the routes between all of them.

    Raises:
        ClusterError: a command failed.
    """
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    _run("ip", "address", "add", f"{HOST_ADDRESS}/{NODE_NETWORK_BITS}", "dev", BRIDGE)
    _run("ip", "link", "set", BRIDGE, "up")
    _run("iptables", "-w", "-I", *FORWARD_RULE)
    for node in NODES:
        _create_node(node)


def _create_node(node: Node) -> None:
    _run("ip", "netns", "add", node.netns)
    _run("ip", "link", "add", node.veth, "type", "veth", "peer", "name", "eth0", "netns", node.netns)
    _run("ip", "link", "set", node.veth, "master", BRIDGE, "up")
    _inside(node, "ip", "link", "set", "lo", "up")
    _inside(node, "ip", "address", "add", f"{node.address}/{NODE_NETWORK_BITS}", "dev", "eth0")
    _inside(node, "ip", "link", "set", "eth0", "up")
    _inside(node, "ip", "route", "add", "default", "via", HOST_ADDRESS)
    for setting in (
        "net.ipv4.ip_forward=1",
        # A pod that reaches a pod beside it through a Service gets its answer over the pods' bridge.
        "net.bridge.bridge-nf-call-iptables=1",
    ):
        key, _, value = setting.partition("=")
        path = Path("/proc/sys") / key.replace(".", "/")
        _inside(node, "sh", "-c", f"[ ! -e {path} ] || echo {value} > {path}")
    for other in NODES:
        if other != node:
            _inside(node, "ip", "route", "add", other.pod_network, "via", other.address)
    _run("ip", "route", "replace", node.pod_network, "via", node.address)


def allow_egress() -> None:
    """Let pods reach what this machine reaches, under the machine's address.

    Raises:
        ClusterError: a command failed.
    """
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    for table, *rule in EGRESS_RULES:
        if not _run("iptables", "-w", "-t", table, "-C", *rule, check=False):
            _run("iptables", "-w", "-t", table, "-I", *rule)


def cut(node: Node) -> None:
    """Pull the node's cable: nothing it sends leaves it, not even the end of its connections."""
    _run("ip", "link", "set", node.veth, "down")


def mend(node: Node) -> None:
    """Plug the node's cable in again."""
    _run("ip", "link", "set", node.veth, "up")


def part(some: Sequence[str], others: Sequence[str]) -> None:
    """Drop every packet between the one addresses and the other, on every node, until ``unite``.

    Raises:
        ClusterError: a command failed.
    """
    for node in NODES:
        if not _inside(node, "iptables", "-w", "-n", "-L", PARTING, check=False):
            _inside(node, "iptables", "-w", "-N", PARTING)
            _inside(node, "iptables", "-w", "-I", "FORWARD", "-j", PARTING)
        for one, other in itertools.product(some, others):
            for source, destination in ((one, other), (other, one)):
                _inside(node, "iptables", "-w", "-A", PARTING, "-s", source, "-d", destination, "-j", "DROP")


def unite() -> None:
    """Undo every ``part``."""
    for node in NODES:
        _inside(node, "iptables", "-w", "-F", PARTING, check=False)


def exists() -> bool:
    """Whether the bridge is there."""
    return Path("/sys/class/net", BRIDGE).exists()


def remove() -> None:
    """Remove all of it, whether it is complete or not."""
    for node in NODES:
        if (NETNS_FOLDER / node.netns).exists():
            _run("ip", "netns", "delete", node.netns, check=False)
        _run("ip", "link", "delete", node.veth, check=False)
    _run("ip", "link", "delete", layout.BRIDGE, check=False)
    for table, *rule in (("filter", *FORWARD_RULE), *EGRESS_RULES):
        while _run("iptables", "-w", "-t", table, "-D", *rule, check=False):
            pass
