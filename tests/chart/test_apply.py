"""What the chart renders changes nothing in the cluster when it is applied once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from chart.helm import VALUES_FILES, render
from lab.cluster.base import product_namespace
from lab.kubectl import CommandError, Kubectl
from lab.stage import Stage

pytestmark = pytest.mark.cluster

NAMESPACE = "applied-twice"
# Objects are what this is about; their pods would need images and Secrets.
NO_PODS = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-pods"},
    "spec": {"hard": {"pods": "0"}},
}


@pytest.fixture(scope="module")
def kubectl(stage: Stage) -> Iterator[Kubectl]:
    kubectl = stage.kubectl.in_namespace(NAMESPACE)
    kubectl.apply(product_namespace(NAMESPACE))
    kubectl.apply(NO_PODS)
    yield kubectl
    kubectl.run("delete", "namespace", NAMESPACE)


@pytest.mark.parametrize("name", VALUES_FILES)
def test_a_second_apply_writes_nothing(kubectl: Kubectl, tmp_path: Path, name: str) -> None:
    file = tmp_path / "rendered.yaml"

    file.write_text(render("--no-hooks", "--namespace", NAMESPACE, values=VALUES_FILES[name]))
    try:
        kubectl.run("apply", "--server-side", "-f", str(file))
        _settle(kubectl)
        first = _written(kubectl, file)
        kubectl.run("apply", "--server-side", "-f", str(file))
        assert _written(kubectl, file) == first
        # Fails with what differs.
        kubectl.run("diff", "--server-side", "-f", str(file))
    finally:
        kubectl.run("delete", "--ignore-not-found", "-f", str(file))


@pytest.mark.parametrize(("scaled", "left"), [(None, 1), (4, 4)], ids=["as-it-is", "scaled-before"])
def test_what_upgrading_tells_of_replicas(kubectl: Kubectl, tmp_path: Path, scaled: int | None, left: int) -> None:
    """From a fixed number to an autoscaler, and back, as UPGRADING.md says."""
    file = tmp_path / "rendered.yaml"
    deployment = "deployment/demo-voice-agent-worker"

    def apply(*values: str, more: Sequence[str] = ()) -> int:
        which = ("--show-only", "templates/worker/deployment.yaml", "--namespace", NAMESPACE)
        file.write_text(render(*which, *values, values=VALUES_FILES["local"]))
        kubectl.run("apply", "--server-side", "--field-manager=helm", *more, "-f", str(file))
        return int(kubectl.get(deployment)["spec"]["replicas"])

    try:
        assert apply("--set", "replicas=3") == 3
        if scaled is not None:
            kubectl.run("scale", deployment, f"--replicas={scaled}")
        assert apply("--set", "autoscaling.enabled=true") == left
        if scaled is not None:
            with pytest.raises(CommandError, match="conflict"):
                apply("--set", "replicas=3")
        assert apply("--set", "replicas=3", more=["--force-conflicts"]) == 3
    finally:
        kubectl.run("delete", "--ignore-not-found", "-f", str(file))


def _settle(kubectl: Kubectl) -> None:
    """Wait until autoscalers have raised their Deployments to the minimum: nothing else writes to specs by itself."""
    for scaler in kubectl.items("horizontalpodautoscalers"):
        spec = scaler["spec"]
        target = f"{spec['scaleTargetRef']['kind']}/{spec['scaleTargetRef']['name']}"
        kubectl.run("wait", f"--for=jsonpath={{.spec.replicas}}={spec['minReplicas']}", target, "--timeout=60s")
    for deployment in kubectl.items("deployments"):
        seen = f"--for=jsonpath={{.status.observedGeneration}}={deployment['metadata']['generation']}"
        kubectl.run("wait", seen, f"deployment/{deployment['metadata']['name']}", "--timeout=60s")


def _written(kubectl: Kubectl, file: Path) -> dict[str, Any]:
    """Of each object, its generation, and what was applied, when and by whom; status is the cluster's own business."""
    objects = kubectl.items("-f", str(file), "--show-managed-fields")
    assert objects
    return {
        f"{each['kind']}/{each['metadata']['name']}": (
            each["metadata"].get("generation"),
            [entry for entry in each["metadata"]["managedFields"] if entry["operation"] == "Apply"],
        )
        for each in objects
    }
