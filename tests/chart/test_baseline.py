"""The blueprint in the lab is the published one: the lab changes where things are, not how pods come and go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from chart.helm import objects, render
from lab.baseline import VALUES_FILES, WORKER

PUBLISHED, LAB = VALUES_FILES


def deployment(*args: str, values: Path) -> dict[str, Any]:
    """The one Deployment that is rendered: there are no keepers."""
    [found] = [each for each in objects(render(*args, values=values)) if each["kind"] == "Deployment"]
    spec: dict[str, Any] = found["spec"]
    return spec


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    return deployment(values=PUBLISHED)


@pytest.fixture(scope="module")
def in_lab() -> dict[str, Any]:
    return deployment("--values", str(PUBLISHED), "--set", "agent.name=plain,replicas=4", values=LAB)


def test_the_blueprint_has_the_published_figures(published: dict[str, Any]) -> None:
    pod = published["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 150
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"exec": {"command": ["sleep", "120"]}}}
    sizes = {"requests": {"cpu": "1000m", "memory": "1Gi"}, "limits": {"cpu": "2000m", "memory": "2Gi"}}
    assert pod["containers"][0]["resources"] == sizes
    [scaler] = [each for each in objects(render(values=PUBLISHED)) if each["kind"] == "HorizontalPodAutoscaler"]
    assert (scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]) == (3, 10)
    assert scaler["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 75
    assert scaler["spec"]["behavior"] == {
        "scaleUp": {"stabilizationWindowSeconds": 120},
        "scaleDown": {"stabilizationWindowSeconds": 900},
    }


def test_pods_in_the_lab_come_and_go_as_the_published_ones(published: dict[str, Any], in_lab: dict[str, Any]) -> None:
    assert in_lab["strategy"] == published["strategy"]
    lab, cloud = in_lab["template"]["spec"], published["template"]["spec"]
    assert lab["terminationGracePeriodSeconds"] == cloud["terminationGracePeriodSeconds"]
    for name in ("lifecycle", "startupProbe", "readinessProbe", "livenessProbe"):
        assert lab["containers"][0][name] == cloud["containers"][0][name]


def test_the_lab_runs_the_plain_worker_by_the_name_and_number_that_it_is_told(in_lab: dict[str, Any]) -> None:
    assert in_lab["replicas"] == 4
    pod = in_lab["template"]["spec"]
    container = pod["containers"][0]
    [folder] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "baseline"]
    assert container["command"] == ["python", f"{folder}/{WORKER.name}", "start"]
    assert "args" not in container
    assert {"name": "AGENT_NAME", "value": "plain"} in container["env"]
