"""What happens to all that a fleet depends on: LiveKit, keepers, networks, the API server, Gemini."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from lab.cluster import LAB_NAMESPACE
from lab.disruptions import crashes
from lab.disruptions.waiting import until
from lab.kubectl import Kubectl
from lab.services import INFRA_LABEL
from lab.stage import Stage

LIVEKIT = "app=livekit"
RETURN_SECONDS = 120


def restart_livekit(stage: Stage) -> None:
    """Kill livekit-server's pod and wait for the next one; what one node had in memory, all its rooms, is gone.

    Raises:
        TimeoutError: no other pod was made.
    """
    lab = stage.kubectl.in_namespace(LAB_NAMESPACE)

    def names() -> set[str]:
        return {pod["metadata"]["name"] for pod in lab.items("pods", "-l", LIVEKIT)}

    before = names()
    lab.run("delete", "pod", "-l", LIVEKIT, "--grace-period=0", "--force")
    # The rollout's status is that of the pod that is gone until the controller has heard of it.
    until(lambda: names() - before, RETURN_SECONDS, f"no other pod of LiveKit was made within {RETURN_SECONDS} s")
    lab.run("wait", "pod", "-l", LIVEKIT, "--for=condition=Ready", f"--timeout={RETURN_SECONDS}s")


def keepers(stage: Stage) -> list[str]:
    """Names of the keepers' pods, the leader first."""
    leader = stage.kubectl.get("lease", stage.keeper_deployment)["spec"].get("holderIdentity") or ""
    names = [pod["metadata"]["name"] for pod in stage.kubectl.items("pods", "-l", stage.keeper_selector)]
    return sorted(names, key=lambda name: (not leader.startswith(name), name))


def kill_leader(stage: Stage) -> None:
    """SIGKILL to the keeper that leads: its container is restarted, without what it knew."""
    crashes.kill_worker(stage, keepers(stage)[0])


@contextmanager
def keepers_gone(stage: Stage) -> Iterator[None]:
    """No keeper runs meanwhile."""
    with _scaled_to_nothing(stage, stage.keeper_deployment, stage.keeper_selector):
        yield


@contextmanager
def _scaled_to_nothing(stage: Stage, deployment: str, selector: str) -> Iterator[None]:
    target = f"deployment/{deployment}"
    replicas = stage.kubectl.get("deployment", deployment)["spec"]["replicas"]
    stage.kubectl.run("scale", target, "--replicas=0")
    stage.kubectl.run("delete", "pod", "-l", selector, "--grace-period=0", "--force")
    try:
        yield
    finally:
        stage.kubectl.run("scale", target, f"--replicas={replicas}")
        stage.kubectl.run("rollout", "status", target, f"--timeout={RETURN_SECONDS}s")


def _addresses(kubectl: Kubectl, selector: str) -> list[str]:
    pods = kubectl.items("pods", "-l", selector)
    return [pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")]


def restart_store(stage: Stage) -> None:
    """Kill the Valkey of the release, and wait until it serves again."""
    [pod] = stage.kubectl.items("pods", "-l", stage.store_selector)
    crashes.kill_worker(stage, pod["metadata"]["name"])
    stage.kubectl.run("rollout", "status", f"deployment/{stage.store_deployment}", f"--timeout={RETURN_SECONDS}s")


@contextmanager
def store_away(stage: Stage) -> Iterator[None]:
    """No Valkey runs meanwhile."""
    with _scaled_to_nothing(stage, stage.store_deployment, stage.store_selector):
        yield


@contextmanager
def keepers_cut_off(stage: Stage) -> Iterator[None]:
    """Nothing passes meanwhile between keepers and workers, nor between the keepers; all else does."""
    of_keepers = _addresses(stage.kubectl, stage.keeper_selector)
    try:
        stage.cluster.part(of_keepers, _addresses(stage.kubectl, stage.selector))
        stage.cluster.part(of_keepers[:1], of_keepers[1:])
        yield
    finally:
        stage.cluster.unite()


@contextmanager
def cut_off_from_livekit(stage: Stage, pod: str) -> Iterator[None]:
    """Nothing passes meanwhile between the pod and livekit-server, media or signalling; all else does."""
    of_pod = stage.kubectl.get("pod", pod)["status"]["podIP"]
    try:
        stage.cluster.part(_addresses(stage.kubectl.in_namespace(LAB_NAMESPACE), LIVEKIT), [of_pod])
        yield
    finally:
        stage.cluster.unite()


def node_without_servers(stage: Stage) -> str:
    """A node that runs neither LiveKit nor the model.

    Raises:
        AssertionError: there is none.
    """
    nodes = stage.kubectl.items("nodes", "-l", f"!{INFRA_LABEL},!node-role.kubernetes.io/control-plane")
    if not nodes:
        raise AssertionError("every node runs the lab's servers")
    return str(nodes[0]["metadata"]["name"])


@contextmanager
def node_cut_off(stage: Stage, node: str) -> Iterator[None]:
    """All that runs on the node goes on, and nobody hears of it."""
    stage.cluster.cut_node(node)
    try:
        yield
    finally:
        stage.cluster.mend_node(node)
        stage.kubectl.run("wait", f"node/{node}", "--for=condition=Ready", f"--timeout={RETURN_SECONDS}s")


@contextmanager
def api_server_away(stage: Stage) -> Iterator[None]:
    """Nobody can ask the API server meanwhile."""
    stage.cluster.stop_api_server()
    try:
        yield
    finally:
        stage.cluster.start_api_server()


def fail_gemini(stage: Stage, **fault: object) -> None:
    """Have the simulator fail as ``lab.gemini.faults.Fault`` describes; in every open session unless it names one."""
    everywhere = {"when": "now", "times": 255, **fault}
    _admin(stage, "POST", "/faults", everywhere)
    _admin(stage, "DELETE", "/faults")


def _admin(stage: Stage, method: str, path: str, body: object = None) -> None:
    request = urllib.request.Request(  # noqa: S310 - the simulator's own http:// address
        f"{stage.endpoints.gemini_admin_url}{path}",
        method=method,
        data=json.dumps(body).encode() if body is not None else None,
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        answer.read()
