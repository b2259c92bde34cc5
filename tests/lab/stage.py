"""The stage that the demo and the end-to-end tests play on: cluster, images, servers, the installed chart."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from livekit import api

from lab import admission
from lab.callers.caller import POD_ATTRIBUTE
from lab.cluster import Cluster, get_cluster
from lab.images import RECIPES, build
from lab.kubectl import Kubectl
from lab.paths import CHART, VALUES
from lab.real_services import RealServices
from lab.services import Endpoints, deploy

RELEASE = "demo"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what is being done, and how long it took."""
    print(f"· {title} …", flush=True)
    started = time.monotonic()
    yield
    print(f"  {title}: {time.monotonic() - started:.1f} s", flush=True)


@dataclass
class Stage:
    """A cluster with the lab's servers in it.

    Attributes:
        cluster: the cluster.
        kubectl: kubectl and helm in the product's namespace.
        endpoints: where callers reach LiveKit and the simulator.
        helm_args: what every install or upgrade of this stage is given besides the values file.
        real_gemini: whether the model is Google's, which answers in words.
        agent_name: which agent its workers answer as.
        release: the release's name.
        changes: values, by key, that a disruption has changed and that stay so: what is installed next would roll
            every pod once more only to take them back.
    """

    cluster: Cluster
    kubectl: Kubectl
    endpoints: Endpoints
    helm_args: list[str] = field(default_factory=list)
    real_gemini: bool = False
    agent_name: str = "voice-agent"
    release: str = RELEASE
    changes: dict[str, str] = field(default_factory=dict)

    @property
    def _fullname(self) -> str:
        """What the names of the release's objects begin with, as the chart makes it."""
        return self.release if CHART.name in self.release else f"{self.release}-{CHART.name}"

    @property
    def deployment(self) -> str:
        """The workers' Deployment."""
        return f"{self._fullname}-worker"

    @property
    def keeper_deployment(self) -> str:
        """The keepers' Deployment, and their Lease."""
        return f"{self._fullname}-keeper"

    @property
    def selector(self) -> str:
        """Selects the worker pods."""
        return self._selector("worker")

    @property
    def keeper_selector(self) -> str:
        """Selects the keepers' pods."""
        return self._selector("keeper")

    @property
    def store_deployment(self) -> str:
        """The Deployment of the chart's own Valkey, where it runs one."""
        return f"{self._fullname}-valkey"

    @property
    def store_selector(self) -> str:
        """Selects that Valkey's pod."""
        return self._selector("valkey")

    def _selector(self, component: str) -> str:
        return f"app.kubernetes.io/instance={self.release},app.kubernetes.io/component={component}"

    def install(self, *args: str, wait: float = 300) -> None:
        """Install or upgrade the release and wait until its pods are ready."""
        self.kubectl.install(self.release, *self.arguments(*args), wait=wait)

    def arguments(self, *args: str) -> list[str]:
        """What helm is given: the values, what this stage adds and has changed, and ``args``."""
        changed = [word for key, value in self.changes.items() for word in ("--set", f"{key}={value}")]
        return [*self._values(), *self.helm_args, *changed, *args]

    def _values(self) -> list[str]:
        """What the release is, before anything is added or changed."""
        return ["--values", str(VALUES / "local.yaml")]

    def uninstall(self) -> None:
        """Remove the release and wait until its pods are gone."""
        self.kubectl.helm("uninstall", self.release, "--ignore-not-found")
        # Not in the time that their calls, or a hook, would take.
        self.kubectl.run("delete", "pods", "-l", self.selector, "--grace-period=1", "--ignore-not-found")

    def workers(self) -> list[Any]:
        """The worker pods that are not terminating, as the API server's objects."""
        return self._staying(self.selector)

    def keepers(self) -> list[Any]:
        """The keepers' pods that are not terminating, likewise."""
        return self._staying(self.keeper_selector)

    def _staying(self, selector: str) -> list[Any]:
        pods = self.kubectl.items("pods", "-l", selector)
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def worker_names(self) -> set[str]:
        """Names of the worker pods that are not terminating."""
        return {pod["metadata"]["name"] for pod in self.workers()}

    def pod_ids(self) -> dict[str, str]:
        """The names of the workers' and keepers' pods, by their uids: a replaced pod has another, whatever its name."""
        pods = [*self.workers(), *self.keepers()]
        return {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in pods}

    def terminating(self) -> set[str]:
        """Names of the worker pods that were told to go and are still there."""
        pods = self.kubectl.items("pods", "-l", self.selector)
        return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"]}

    def workers_on(self, node: str) -> set[str]:
        """Names of the worker pods on a node that are not terminating."""
        return {pod["metadata"]["name"] for pod in self.workers() if pod["spec"].get("nodeName") == node}

    def node_of(self, pod: str) -> str:
        """The node that a worker pod runs on."""
        return next(str(each["spec"]["nodeName"]) for each in self.workers() if each["metadata"]["name"] == pod)

    async def serving(self, rooms: str) -> Counter[str]:
        """How many calls, in rooms whose names begin with ``rooms``, each worker pod has."""
        pods: Counter[str] = Counter()
        endpoints = self.endpoints
        async with api.LiveKitAPI(endpoints.livekit_url, endpoints.api_key, endpoints.api_secret) as client:
            for room in (await client.room.list_rooms(api.ListRoomsRequest())).rooms:
                if room.name.startswith(rooms):
                    people = await client.room.list_participants(api.ListParticipantsRequest(room=room.name))
                    pods.update(pod for person in people.participants if (pod := person.attributes.get(POD_ATTRIBUTE)))
        return pods

    def settle(self) -> None:
        """Wait until no worker pod is terminating."""
        self.wait_gone(self.terminating())

    def wait_gone(self, pods: set[str], timeout: float = 300) -> None:
        """Wait until none of the named pods exists any more."""
        for pod in pods:
            self.kubectl.run("wait", "--for=delete", f"pod/{pod}", f"--timeout={int(timeout)}s", timeout=timeout + 30)


def prepare(real: RealServices | None = None) -> Stage:
    """Bring up the cluster, build and load the images, start the servers; cheap when all is there already.

    Args:
        real: services outside of the lab to use instead of its own.
    """
    cluster = get_cluster()
    with step("cluster"):
        cluster.create()
    with step("images"):
        for archive in build():
            cluster.load_image(archive)
    with step("livekit-server and the Gemini simulator"):
        endpoints = deploy(cluster)
    kubectl = Kubectl(cluster.kubeconfig())
    with step("GKE Autopilot's rules for pods"):
        admission.enforce(kubectl)
    # The image's tag stays the same when it is built anew.
    key = RECIPES["voice-agent"]().key
    arguments = [
        "--set-string",
        f"podAnnotations.voice-agent/image={key},keeper.podAnnotations.voice-agent/image={key}",
    ]
    if real is None or not real.any:
        return Stage(cluster, kubectl, endpoints, arguments)
    cluster.allow_egress()
    arguments += real.helm_args(kubectl)
    return Stage(cluster, kubectl, real.endpoints(endpoints), arguments, bool(real.gemini))
