"""Installing the blueprint beside the product, on a cluster that only remembers what it was given."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lab.baseline import NAMESPACE, WORKER, blueprint
from lab.cluster import PRODUCT_NAMESPACE, Cluster
from lab.kubectl import Kubectl
from lab.services import CA_CONFIG_MAP, GEMINI_SECRET, LIVEKIT_SECRET, STATE_SECRET, Endpoints
from lab.stage import Stage

Objects = dict[tuple[str, str, str], dict[str, Any]]


class FakeKubectl:
    """A stand-in for `lab.kubectl.Kubectl`."""

    def __init__(self, objects: Objects, namespace: str) -> None:
        self.objects, self.namespace = objects, namespace
        self.installed: list[str] = []
        self.pods: list[dict[str, Any]] = []
        self.waited: list[str] = []

    def in_namespace(self, namespace: str) -> FakeKubectl:
        return FakeKubectl(self.objects, namespace)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.objects[self.namespace, kind, name]

    def apply(self, *documents: dict[str, Any]) -> None:
        for each in documents:
            self.objects[self.namespace, each["kind"].lower(), each["metadata"]["name"]] = each

    def install(self, release: str, *args: str, wait: float) -> None:
        self.installed = [release, *args]

    def items(self, *args: str) -> list[dict[str, Any]]:
        return self.pods

    def run(self, *args: str, timeout: float) -> None:
        self.waited.append(" ".join(args))

    def wait_logged(self, pod: str, words: str, timeout: float) -> None:
        self.waited.append(f"{pod}: {words}")


@pytest.fixture
def objects() -> Objects:
    names = {LIVEKIT_SECRET: "secret", GEMINI_SECRET: "secret", STATE_SECRET: "secret", CA_CONFIG_MAP: "configmap"}
    return {
        (PRODUCT_NAMESPACE, kind, name): {"metadata": {"name": name, "uid": "1"}, "data": {"of": name}}
        for name, kind in names.items()
    }


@pytest.fixture
def stage(objects: Objects) -> Stage:
    kubectl = cast(Kubectl, FakeKubectl(objects, PRODUCT_NAMESPACE))
    return Stage(cast(Cluster, None), kubectl, Endpoints("ws://lab", "key", "secret", "http://lab"), ["--set", "a=b"])


def test_the_blueprint_has_the_products_servers_and_credentials(stage: Stage, objects: Objects) -> None:
    beside = blueprint(stage)
    assert beside.endpoints == stage.endpoints
    for kind, name in (("secret", LIVEKIT_SECRET), ("secret", GEMINI_SECRET), ("configmap", CA_CONFIG_MAP)):
        copy = objects[NAMESPACE, kind, name]
        assert copy["data"] == {"of": name}
        assert "uid" not in copy["metadata"]


def test_an_install_brings_the_script_and_leaves_the_product_alone(stage: Stage, objects: Objects) -> None:
    beside = blueprint(stage, agent_name="plain", replicas=3)
    beside.install("--set", "c=d")
    assert objects[NAMESPACE, "configmap", "baseline"]["data"] == {"worker.py": WORKER.read_text()}
    words = " ".join(cast(FakeKubectl, beside.kubectl).installed)
    assert "agent.name=plain," in words
    assert "replicas=3" in words
    assert words.endswith("--set a=b --set c=d")
    assert not cast(FakeKubectl, stage.kubectl).installed


def test_no_call_comes_before_the_workers_are_known(stage: Stage) -> None:
    beside = blueprint(stage)
    fake = cast(FakeKubectl, beside.kubectl)
    fake.pods = [{"metadata": {"name": "new"}}, {"metadata": {"name": "old", "deletionTimestamp": "now"}}]
    beside.settle()
    assert fake.waited == ["wait --for=delete pod/old --timeout=300s", "new: registered worker"]
