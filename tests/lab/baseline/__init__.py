"""The published blueprint in the lab's cluster: what the product's calls are compared with."""

from __future__ import annotations

import hashlib
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import processes
from lab.cluster.base import product_namespace
from lab.paths import VALUES
from lab.services import share
from lab.stage import Stage

NAMESPACE = "blueprint"
AGENT_NAME = "blueprint"

WORKER = Path(__file__).with_name("worker.py")
VALUES_FILES = (VALUES / "blueprint.yaml", Path(__file__).with_name("values.yaml"))

_CONFIG_MAP = "baseline"
# What livekit-agents logs once livekit-server may send it calls: after its idle processes have started.
_REGISTERED = "registered worker"
_REGISTERED_SECONDS = 100


@dataclass
class Blueprint(Stage):
    """A stage whose release is the blueprint's, in a namespace of its own: every disruption can be done to it too.

    Attributes:
        agent_name: what callers ask for to reach its workers.
        replicas: its worker pods.
    """

    agent_name: str = AGENT_NAME
    replicas: int = 2

    def install(self, *args: str, wait: float = 300) -> None:
        """Install or upgrade the release and wait until its pods are ready."""
        self.kubectl.apply(_named("ConfigMap", _CONFIG_MAP, {"worker.py": WORKER.read_text()}))
        super().install(*args, wait=wait)

    def settle(self) -> None:
        """Wait until no worker pod is terminating and livekit-server knows each of the others.

        The blueprint's probes find a pod ready before that, and a call that comes when no worker is known is sent to
        none, ever. What is compared begins with the disruption, not with that.

        Raises:
            CommandError: a worker did not register.
        """
        super().settle()
        for pod in self.worker_names():
            self.kubectl.wait_logged(pod, _REGISTERED, _REGISTERED_SECONDS)

    def uninstall(self) -> None:
        """Remove the release and wait until its pods are gone, though not for their `preStop`, which takes minutes."""
        pids = [pid for pod in self.worker_names() for pid in processes.of_pod(self.kubectl, pod)]
        self.kubectl.helm("uninstall", self.release, "--ignore-not-found")
        for pod in self.worker_names():
            # Killed before it is told to go, its container would be started again.
            self.kubectl.run("wait", "--for=jsonpath={.metadata.deletionTimestamp}", f"pod/{pod}", "--timeout=60s")
        processes.send(pids, signal.SIGKILL)
        super().uninstall()

    def _values(self) -> list[str]:
        """The blueprint's values and the lab's."""
        values = [word for file in VALUES_FILES for word in ("--values", str(file))]
        # The pods do not follow a change of a ConfigMap by themselves.
        key = hashlib.sha256(WORKER.read_bytes()).hexdigest()[:12]
        values += ["--set-string", f"agent.name={self.agent_name},podAnnotations.voice-agent/baseline={key}"]
        return [*values, "--set", f"replicas={self.replicas}"]


def blueprint(stage: Stage, *, agent_name: str = AGENT_NAME, replicas: int = 2) -> Blueprint:
    """The blueprint's stage beside the product's, with the same servers; nothing is installed yet.

    Args:
        stage: where the product is, with the lab's own servers.
        agent_name: what callers ask for to reach the blueprint's workers; another than the product's.
        replicas: its worker pods.

    Raises:
        CommandError: the API server refused an object.
    """
    kubectl = stage.kubectl.in_namespace(NAMESPACE)
    kubectl.apply(product_namespace(NAMESPACE))
    share(stage.kubectl, kubectl)
    return Blueprint(stage.cluster, kubectl, stage.endpoints, stage.helm_args, agent_name=agent_name, replicas=replicas)


def _named(kind: str, name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data}
