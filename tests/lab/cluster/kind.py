"""A cluster from kind, for machines with Docker and access to an image registry.

It could not be tried where this project is developed: kind's node image comes from a registry.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.cluster.base import ClusterError, ClusterStatus, create_namespaces, node_statuses
from lab.kubectl import CommandError, Kubectl
from lab.paths import BUILD, tool

NAME = "voice-agent"
CONTROL_PLANE = f"{NAME}-control-plane"
# Docker's network that every kind cluster shares.
NETWORK = "kind"
PARTED = ("iptables", "-w")

CONFIGURATION = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
  - role: control-plane
  - role: worker
    labels: {topology.kubernetes.io/zone: local-a}
  - role: worker
    labels: {topology.kubernetes.io/zone: local-b}
"""


def _run(*command: str, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


class KindCluster:
    """Two kind workers and a control plane; needs Docker. metrics-server is not part of it.

    ``LAB_KIND_IMAGE`` is the node image, which has the version of Kubernetes; by default kind's own.
    """

    def __init__(self) -> None:
        self._parted: list[tuple[str, str, str]] = []

    def _kind(self, *args: str, stdin: str | None = None) -> str:
        return _run(str(tool("kind")), *args, stdin=stdin)

    def _exists(self) -> bool:
        return NAME in self._kind("get", "clusters").split()

    def create(self) -> None:
        """Create the cluster unless it exists, and the namespaces."""
        if not self._exists():
            self.kubeconfig().parent.mkdir(parents=True, exist_ok=True)
            image = os.environ.get("LAB_KIND_IMAGE")
            self._kind(
                "create", "cluster", f"--name={NAME}", "--config=-", "--wait=180s",
                f"--kubeconfig={self.kubeconfig()}", *([f"--image={image}"] if image else []), stdin=CONFIGURATION,
            )  # fmt: skip
        create_namespaces(Kubectl(self.kubeconfig()))

    def destroy(self) -> None:
        """Delete the cluster."""
        self._kind("delete", "cluster", f"--name={NAME}", f"--kubeconfig={self.kubeconfig()}")

    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return BUILD / "cluster" / "kind.kubeconfig"

    def load_image(self, archive: Path) -> None:
        """Load a docker-archive tar into every node."""
        self._kind("load", "image-archive", f"--name={NAME}", str(archive))

    def nodes(self) -> list[str]:
        """The workers."""
        return sorted(n for n in self._kind("get", "nodes", f"--name={NAME}").split() if "control-plane" not in n)

    def node_address(self, node: str) -> str:
        """The address of the node's container on Docker's network."""
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return _run("docker", "inspect", "--format", template, node).strip()

    def allow_egress(self) -> None:
        """Docker's network lets pods out as it is."""

    def lose_node(self, node: str) -> None:
        """Kill the node's container."""
        _run("docker", "kill", node)

    def restore_node(self, node: str) -> None:
        """Start the node's container again."""
        _run("docker", "start", node)

    def cut_node(self, node: str) -> None:
        """Take the node's container off Docker's network."""
        _run("docker", "network", "disconnect", NETWORK, node)

    def mend_node(self, node: str) -> None:
        """Put the node's container back on Docker's network."""
        _run("docker", "network", "connect", NETWORK, node)

    def part(self, some: Sequence[str], others: Sequence[str]) -> None:
        """Drop what pods of these addresses send one another, on every worker."""
        for node, one, other in itertools.product(self.nodes(), some, others):
            for source, destination in ((one, other), (other, one)):
                _run("docker", "exec", node, *PARTED, "-I", "FORWARD", "-s", source, "-d", destination, "-j", "DROP")
                self._parted.append((node, source, destination))

    def unite(self) -> None:
        """Undo every ``part``."""
        while self._parted:
            node, source, destination = self._parted.pop()
            _run("docker", "exec", node, *PARTED, "-D", "FORWARD", "-s", source, "-d", destination, "-j", "DROP")

    def enforce_policies(self) -> None:
        """kind's own network plugin enforces them, from kind 0.24 on."""

    def ignore_policies(self) -> None:
        """kind's own network plugin goes on."""

    def stop_api_server(self) -> None:
        """Pause the control plane's container: whoever asks it gets no answer."""
        _run("docker", "pause", CONTROL_PLANE)

    def start_api_server(self) -> None:
        """Let the control plane go on."""
        _run("docker", "unpause", CONTROL_PLANE)

    def status(self) -> ClusterStatus:
        """The workers as the API server sees them."""
        try:
            if not self._exists():
                return ClusterStatus(running=False, kubeconfig=self.kubeconfig())
            nodes = node_statuses(Kubectl(self.kubeconfig()))
        except (ClusterError, CommandError, FileNotFoundError):
            return ClusterStatus(running=False, kubeconfig=self.kubeconfig())
        return ClusterStatus(running=True, kubeconfig=self.kubeconfig(), nodes=nodes)
