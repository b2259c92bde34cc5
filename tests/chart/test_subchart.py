"""The chart as a part of another."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import MAJORS, MINIMAL, RenderError, objects, render
from chart.validity import REFUSED_BY_SCHEMA, invalid, refused_by_schemas
from lab.generate import EVERYTHING
from lab.paths import CHART, tool


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that depends on ours, by its path."""
    folder = tmp_path_factory.mktemp("parent")
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    dependency = {"name": "voice-agent", "version": "*", "repository": f"file://{CHART}"}
    dependency["condition"] = "voice-agent.enabled"
    (folder / "Chart.yaml").write_text(json.dumps({**chart, "dependencies": [dependency]}))
    subprocess.run([tool("helm"), "dependency", "build", folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("shared", "kinds"),
    [
        ({}, {"Deployment"}),
        (None, {"Deployment"}),
        ({"imageRegistry": None, "imagePullSecrets": None}, {"Deployment"}),
        ({"imageRegistry": "r.example", "imagePullSecrets": [{"name": "r"}], "other": {"a": [1]}}, {"Deployment"}),
        ({"imageRegistry": ["r.example"]}, set()),
        ({"imagePullSecrets": "r"}, set()),
        (["r.example"], {"Deployment"}),
    ],
    ids=repr,
)
def test_what_a_parent_chart_shares(parent: Path, tmp_path: Path, shared: Any, kinds: set[str]) -> None:
    values = {"global": shared, "voice-agent": yaml.safe_load(EVERYTHING.read_text())}
    written = tmp_path / "values.json"
    written.write_text(json.dumps(values))
    if not kinds:
        with pytest.raises(RenderError, match=re.escape(REFUSED_BY_SCHEMA)):
            render(values=written, chart=parent)
        return
    manifests = render(values=written, chart=parent)
    assert not list(invalid(manifests))
    assert kinds <= {each["kind"] for each in objects(manifests)}
    assert not refused_by_schemas({"parent": manifests}, tmp_path / "rendered")


@pytest.mark.parametrize("helm", MAJORS)
def test_a_parent_chart_takes_defaults_away_without_null(parent: Path, tmp_path: Path, helm: str) -> None:
    """Helm 4 loses the nulls of a parent's own values.yaml, and of what is given by the command line it does not."""
    chart = shutil.copytree(parent, tmp_path / "chart")
    values = {
        **yaml.safe_load(MINIMAL.read_text()),
        "autoscaling": {"enabled": False},
        "command": ["python"],
        "keeper": {"enabled": False},
        "podDisruptionBudget": {"maxUnavailable": "", "minAvailable": 1},
        "probes": {"startup": False, "readiness": False, "liveness": False},
        "replicas": 2,
    }
    (chart / "values.yaml").write_text(json.dumps({"voice-agent": values}))
    made = {
        each["kind"]: each["spec"] for each in objects(render(values=None, chart=chart, helm=helm)) if "spec" in each
    }
    assert made["PodDisruptionBudget"]["minAvailable"] == 1
    assert "maxUnavailable" not in made["PodDisruptionBudget"]
    assert made["Deployment"]["replicas"] == 2
    assert not [key for key in made["Deployment"]["template"]["spec"]["containers"][0] if "Probe" in key]


def test_a_parent_chart_switches_it_off(parent: Path, tmp_path: Path) -> None:
    written = tmp_path / "values.json"
    written.write_text(json.dumps({"voice-agent": {"enabled": False}}))
    assert not objects(render(values=written, chart=parent))
