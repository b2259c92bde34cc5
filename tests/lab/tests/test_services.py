"""Deploying the lab's servers, against an API server that only remembers what it was given."""

from __future__ import annotations

import base64
import datetime
import json
from pathlib import Path
from typing import Any, cast

import pytest

from lab import images, services
from lab.cluster import Cluster
from lab.images import Image
from lab.kubectl import CommandError
from lab.services import Endpoints, ServicesError, deploy

Objects = dict[tuple[str, str, str], dict[str, Any]]


class Api:
    """What all namespaces of a cluster hold, and whether its servers ever become ready."""

    def __init__(self) -> None:
        self.objects: Objects = {}
        self.ready = True
        self.explained: list[str] = []


class FakeKubectl:
    """A stand-in for `lab.kubectl.Kubectl`."""

    def __init__(self, api: Api, namespace: str) -> None:
        self.api, self.namespace = api, namespace

    def in_namespace(self, namespace: str) -> FakeKubectl:
        return FakeKubectl(self.api, namespace)

    def apply(self, *documents: dict[str, Any]) -> None:
        for document in documents:
            self.api.objects[self.namespace, document["kind"], document["metadata"]["name"]] = document

    def run(self, *args: str, timeout: float = 0) -> str:
        match args:
            case ("get", "secret", name, *_):
                found = self.api.objects.get((self.namespace, "Secret", name))
                return json.dumps(found) if found else ""
            case ("rollout", *_) if not self.api.ready:
                raise CommandError("timed out waiting for the condition")
            case _:
                return ""

    def explain(self) -> None:
        self.api.explained.append(self.namespace)


class FakeCluster:
    """A cluster of two nodes."""

    def kubeconfig(self) -> Path:
        return Path("kubeconfig")

    def nodes(self) -> list[str]:
        return ["node-1", "node-2"]

    def node_address(self, node: str) -> str:
        return {"node-1": "192.0.2.1", "node-2": "192.0.2.2"}[node]


@pytest.fixture
def keys() -> dict[str, str]:
    """The keys of the images, as the checkout has them."""
    return {"livekit-server": "1", "voice-agent-lab": "1"}


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, keys: dict[str, str]) -> Api:
    api = Api()

    def recipe(name: str) -> Image:
        return Image(name, name, keys[name], lambda _: None)

    monkeypatch.setattr(services, "Kubectl", lambda _, namespace: FakeKubectl(api, namespace))
    monkeypatch.setattr(services, "_wait_reachable", lambda *_: None)
    monkeypatch.setattr(images, "RECIPES", {name: lambda name=name: recipe(name) for name in keys})
    return api


def deployed() -> Endpoints:
    return deploy(cast("Cluster", FakeCluster()))


def checksums(api: Api) -> dict[str, str]:
    """What makes each server's pods be replaced when it changes."""
    return {
        name: document["spec"]["template"]["metadata"]["annotations"][services.CHECKSUM]
        for (_, kind, name), document in api.objects.items()
        if kind == "Deployment"
    }


def test_second_deploy_changes_nothing(api: Api) -> None:
    first, objects = deployed(), dict(api.objects)
    assert deployed() == first
    assert api.objects == objects


def test_secret_is_as_long_as_livekit_wants_and_differs_from_cluster_to_cluster(api: Api) -> None:
    first = deployed()
    api.objects.clear()
    second = deployed()
    assert len(first.api_secret) >= 32
    assert first.api_secret != second.api_secret


def test_server_is_replaced_when_its_image_changed_and_the_other_is_not(api: Api, keys: dict[str, str]) -> None:
    deployed()
    before = checksums(api)
    keys["voice-agent-lab"] = "2"
    deployed()
    after = checksums(api)
    assert after["gemini-sim"] != before["gemini-sim"]
    assert after["livekit"] == before["livekit"]


def test_certificate_that_is_about_to_end_is_replaced_wherever_it_is_trusted(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed()
    before = checksums(api)["gemini-sim"]
    # It is good for 30 days.
    monkeypatch.setattr(services, "_CERTIFICATE_MARGIN", datetime.timedelta(days=31))
    deployed()

    assert checksums(api)["gemini-sim"] != before
    served = api.objects["lab", "Secret", services.TLS_SECRET]["data"]["tls.crt"]
    trusted = api.objects["voice-agent", "ConfigMap", services.CA_CONFIG_MAP]["data"]["ca.crt"]
    assert base64.b64decode(served).decode() == trusted


def test_server_that_does_not_come_up_is_explained(api: Api) -> None:
    api.ready = False
    with pytest.raises(ServicesError, match="livekit is not ready after 120 s: timed out"):
        deployed()
    assert api.explained == ["lab"]
