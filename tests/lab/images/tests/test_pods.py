"""Pods of the agent image under the `restricted` Pod Security level, with a read-only root file system."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.callers import CallFleet, CallPlan
from lab.cluster import Cluster, get_cluster
from lab.images import agent, build
from lab.images.builder import IMAGES, get_builder
from lab.kubectl import Kubectl
from lab.paths import ROOT
from lab.services import Endpoints, deploy
from lab.signals import Kind

pytestmark = [pytest.mark.image, pytest.mark.cluster]

PYTHON = "/opt/venv/bin/python"

LOOK_AROUND = """
import json, os, pathlib
def writable(path):
    try:
        pathlib.Path(path, "x").write_text("")
    except OSError:
        return False
    return True
print(json.dumps({
    "uid": os.getuid(),
    "first": pathlib.Path("/proc/1/cmdline").read_text().split("\\0")[:-1],
    "writable": [path for path in ("/", "/app", "/opt/venv", "/tmp") if writable(path)],
}))
"""


@dataclass
class Lab:
    cluster: Cluster
    kubectl: Kubectl
    endpoints: Endpoints


@pytest.fixture(scope="module")
def lab() -> Lab:
    cluster = get_cluster()
    cluster.create()
    for archive in build():
        cluster.load_image(archive)
    return Lab(cluster, Kubectl(cluster.kubeconfig()), deploy(cluster))


def pod(name: str, image: str, **settings: str) -> dict[str, Any]:
    """A worker with the lab's servers, and everything that `restricted` asks for."""
    secrets = {
        "LIVEKIT_API_KEY": ("livekit-credentials", "api-key"),
        "LIVEKIT_API_SECRET": ("livekit-credentials", "api-secret"),
        "GOOGLE_API_KEY": ("gemini-api-key", "api-key"),
    }
    plain = {
        "LIVEKIT_URL": "ws://livekit.lab.svc:7880",
        "GEMINI_BASE_URL": "https://gemini-sim.lab.svc:8443",
        "SSL_CERT_FILE": "/ca/ca.crt",
        "AGENT_NAME": name,
        "POD_NAME": name,
        **settings,
    }
    worker = {
        "name": "worker",
        "image": image,
        "imagePullPolicy": "Never",
        "env": [
            *({"name": key, "value": value} for key, value in plain.items()),
            *(
                {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": entry}}}
                for key, (secret, entry) in secrets.items()
            ),
        ],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "ca", "mountPath": "/ca"}, {"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [worker],
            "volumes": [{"name": "ca", "configMap": {"name": "gemini-sim-ca"}}, {"name": "tmp", "emptyDir": {}}],
        },
    }


@contextmanager
def running(kubectl: Kubectl, manifest: dict[str, Any]) -> Iterator[str]:
    """A pod that has become ready, for as long as the context lasts."""
    name = manifest["metadata"]["name"]
    kubectl.apply(manifest)
    try:
        kubectl.run("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=180s")
        yield name
    except BaseException:
        kubectl.explain()
        raise
    finally:
        kubectl.run("delete", "pod", name, "--grace-period=1")


def test_worker_is_the_first_process_and_may_write_nowhere_but_to_tmp(lab: Lab) -> None:
    with running(lab.kubectl, pod("image-test", agent.REFERENCE)) as name:
        seen = json.loads(lab.kubectl.run("exec", name, "--", PYTHON, "-c", LOOK_AROUND))
    assert seen == {
        "uid": 10001,
        "first": [PYTHON, "-m", "voice_agent", "worker"],
        "writable": ["/tmp"],  # noqa: S108
    }


@pytest.fixture
def florist_image(lab: Lab) -> str:
    """The example's image, in every node."""
    example, name, builder = ROOT / "examples" / "own-agent", "localhost/florist:test", get_builder()
    builder.build(example, example / "Dockerfile", name, {"AGENT_IMAGE": agent.provide(builder)})
    # pytest would keep half a gigabyte in its `tmp_path` for three runs.
    with tempfile.TemporaryDirectory(dir=IMAGES) as folder:
        archive = Path(folder, "florist.tar")
        builder.save(name, name, archive)
        lab.cluster.load_image(archive)
    return name


async def test_own_agent_answers_calls_and_uses_its_own_tool(lab: Lab, florist_image: str) -> None:
    florist = pod("image-test-florist", florist_image, AGENT_CLASS="florist:Florist", LOG_LEVEL="DEBUG")
    with running(lab.kubectl, florist) as name:
        plan = CallPlan(
            url=lab.endpoints.livekit_url,
            api_key=lab.endpoints.api_key,
            api_secret=lab.endpoints.api_secret,
            room=f"florist-{time.time_ns()}",
            agent_name=name,
            kinds=(Kind.ASK_TOOL,),
        )
        async with CallFleet(plan, calls=1) as fleet:
            await fleet.all_answering()
            [report] = await fleet.finish()
        log = lab.kubectl.run("logs", name)
    assert [turn.answers for turn in report.turns][:1] == [1]
    assert "order_status" in log
