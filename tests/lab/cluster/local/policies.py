"""NetworkPolicies, enforced by kube-router on each node: the CNI plugins in use have no policy engine of their own."""

from __future__ import annotations

import shlex
import urllib.request
from functools import partial
from urllib.error import URLError

from lab.cluster.local import cgroups, network, packages
from lab.cluster.local.credentials import KUBECONFIG
from lab.cluster.local.layout import NODES, SERVICE_NETWORK, Node
from lab.cluster.local.processes import Daemon, Processes
from lab.cluster.local.progress import Progress
from lab.paths import tool, tool_on_demand

_PROGRAM = "kube-router"
_PACKAGES = {"ipset": "ipset"}
_HEALTH_PORT = 20244
_PATIENCE_SECONDS = 60.0


def _daemon(node: Node) -> Daemon:
    command = [
        str(tool(_PROGRAM)),
        "--run-firewall=true",
        "--run-router=false",
        "--run-service-proxy=false",
        f"--kubeconfig={KUBECONFIG}",
        f"--hostname-override={node.name}",
        f"--service-cluster-ip-range={SERVICE_NETWORK}",
        f"--health-port={_HEALTH_PORT}",
        "--metrics-port=0",
    ]
    return Daemon(f"{node.name}-{_PROGRAM}", command, netns=node.netns, cgroups=cgroups.of_daemons(node.name))


def _healthy(node: Node) -> bool:
    try:
        with urllib.request.urlopen(f"http://{node.address}:{_HEALTH_PORT}/healthz", timeout=2):
            return True
    except (URLError, TimeoutError, ConnectionError):
        return False


def _ended(processes: Processes, name: str) -> bool:
    return processes.pid(name) is None


def enforce(processes: Processes, progress: Progress) -> None:
    """Start it on every node, and wait until it has read what there is.

    Raises:
        ClusterError: it did not come up; the message ends with its log's last lines.
        CalledProcessError: it could not be built; the builder has said why.
    """
    tool_on_demand(_PROGRAM)
    packages.ensure(progress, _PACKAGES)
    for node in NODES:
        processes.start(_daemon(node))
    for node in NODES:
        name = _daemon(node).name
        processes.wait_for(f"{name} is healthy", partial(_healthy, node), _PATIENCE_SECONDS, [name])


def ignore(processes: Processes) -> None:
    """End it on every node, and take its rules away.

    Raises:
        ClusterError: it does not end, or its rules cannot be taken away.
    """
    for node in NODES:
        name = _daemon(node).name
        processes.end(name)
        processes.wait_for(f"{name} ends", partial(_ended, processes, name), _PATIENCE_SECONDS)
        processes.forget(name)
        _unhook(node)


def _unhook(node: Node) -> None:
    # Its own --cleanup-config wants IPVS, too. Chains that nothing leads to do nothing.
    for chain in ("INPUT", "FORWARD", "OUTPUT"):
        for rule in network.inside(node, "iptables", "-w", "-S", chain).splitlines():
            if "-j KUBE-ROUTER-" in rule:
                network.inside(node, "iptables", "-w", "-D", *shlex.split(rule)[1:])
