"""What the lab asks of a Kubernetes cluster, whichever way it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from lab.kubectl import Kubectl

PRODUCT_NAMESPACE = "voice-agent"
LAB_NAMESPACE = "lab"

# Pod Security levels, set by label: https://kubernetes.io/docs/concepts/security/pod-security-standards/
POD_SECURITY = {PRODUCT_NAMESPACE: "restricted", LAB_NAMESPACE: "baseline"}
# Where GKE Autopilot's rules for pods hold, once `lab.admission` has put them in force.
AUTOPILOT_RULES = {"voice-agent.lab/admission": "autopilot"}


class ClusterError(Exception):
    """The cluster cannot do what was asked; the message says what to look at or to run next."""


@dataclass(frozen=True)
class NodeStatus:
    """One node as the API server sees it."""

    name: str
    ready: bool
    address: str
    pods: int
    """Pods that run on the node, those of the lab included."""


@dataclass(frozen=True)
class ProcessStatus:
    """One process that the lab started beside the cluster's pods."""

    name: str
    pid: int | None
    """None when the process is not running."""


@dataclass(frozen=True)
class ClusterStatus:
    """What ``lab status`` shows."""

    running: bool
    kubeconfig: Path
    nodes: tuple[NodeStatus, ...] = ()
    processes: tuple[ProcessStatus, ...] = ()
    notes: tuple[str, ...] = ()
    """How this cluster differs from a production one."""

    @property
    def healthy(self) -> bool:
        """Whether every node is ready and every process of the cluster runs."""
        return (
            self.running
            and bool(self.nodes)
            and all(node.ready for node in self.nodes)
            and all(process.pid is not None for process in self.processes)
        )

    def __str__(self) -> str:
        if not self.running:
            return "The cluster is down: `make up` starts it."
        lines = [f"{'NODE':<12}{'STATE':<10}{'ADDRESS':<16}PODS"]
        lines += [
            f"{node.name:<12}{'Ready' if node.ready else 'NotReady':<10}{node.address:<16}{node.pods}"
            for node in self.nodes
        ]
        if self.processes:
            lines += ["", f"{'PROCESS':<28}PID"]
            lines += [f"{process.name:<28}{process.pid or 'not running'}" for process in self.processes]
        lines += ["", f"export KUBECONFIG={self.kubeconfig}"]
        lines += [f"Note: {note}" for note in self.notes]
        return "\n".join(lines)


class Cluster(Protocol):
    """A Kubernetes cluster of at least two nodes that tests may break."""

    def create(self) -> None:
        """Bring the cluster up; does nothing when it is healthy, repairs what an earlier run left."""

    def destroy(self) -> None:
        """Take the cluster down and leave nothing of it on the machine."""

    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""

    def load_image(self, archive: Path) -> None:
        """Put the images of a docker-archive tar into every node."""

    def nodes(self) -> list[str]:
        """The names of the nodes that run pods."""

    def node_address(self, node: str) -> str:
        """The address at which the host reaches a node, its NodePorts included."""

    def allow_egress(self) -> None:
        """Let pods reach the internet, for a demo with the real services."""

    def lose_node(self, node: str) -> None:
        """Make a node vanish without a word, as when a machine loses power."""

    def restore_node(self, node: str) -> None:
        """Bring back a node that was lost, as after a reboot."""

    def cut_node(self, node: str) -> None:
        """Take a node from the network while all that runs on it goes on."""

    def mend_node(self, node: str) -> None:
        """Give a node that was cut its network back."""

    def part(self, some: Sequence[str], others: Sequence[str]) -> None:
        """Let no packet pass between pods of the one and pods of the other addresses, until ``unite``."""

    def unite(self) -> None:
        """Undo every ``part``."""

    def enforce_policies(self) -> None:
        """Have NetworkPolicies enforced until ``ignore_policies``."""

    def ignore_policies(self) -> None:
        """Have NetworkPolicies enforced no longer than the cluster does it by itself."""

    def stop_api_server(self) -> None:
        """Kill the API server; nothing starts it again but ``start_api_server``."""

    def start_api_server(self) -> None:
        """Start the API server again, and wait until it answers."""

    def status(self) -> ClusterStatus:
        """Nodes and processes, to be shown to a person."""


def node_statuses(kubectl: Kubectl) -> tuple[NodeStatus, ...]:
    """Every node with its readiness, address and number of running pods.

    Raises:
        CommandError: the API server does not answer.
    """
    running: Counter[str] = Counter(
        pod["spec"].get("nodeName", "")
        for pod in kubectl.items(
            "pods", "--all-namespaces", "--field-selector=status.phase=Running", "--request-timeout=10s"
        )
    )
    return tuple(
        NodeStatus(
            name=node["metadata"]["name"],
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"]),
            address=next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"),
            pods=running[node["metadata"]["name"]],
        )
        for node in kubectl.items("nodes", "--request-timeout=10s")
    )


def create_namespaces(kubectl: Kubectl) -> None:
    """Create the lab's and the product's namespace with the Pod Security level each of them enforces."""
    kubectl.apply(_namespace(LAB_NAMESPACE, _levels(LAB_NAMESPACE)), product_namespace())


def product_namespace(name: str = PRODUCT_NAMESPACE) -> dict[str, Any]:
    """A namespace that the chart is installed in: what its pods may be is as strict as anywhere."""
    return _namespace(name, {**_levels(PRODUCT_NAMESPACE), **AUTOPILOT_RULES})


def _levels(namespace: str) -> dict[str, str]:
    return {f"pod-security.kubernetes.io/{mode}": POD_SECURITY[namespace] for mode in ("enforce", "audit", "warn")}


def _namespace(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
