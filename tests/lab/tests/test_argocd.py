"""What Argo CD is given in the lab, and what is made of what it says, without one."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from lab.argocd import EXAMPLE, ArgoCD, Repository, application, server
from lab.kubectl import Kubectl
from lab.paths import CHART, ROOT, VALUES


class FakeKubectl:
    """An API server that has one Application."""

    def __init__(self, found: dict[str, Any]) -> None:
        self.found = found

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return self.found


def status(
    sync: str = "Synced", revision: str = "new", synced: str = "new", phase: str = "Succeeded"
) -> dict[str, Any]:
    return {
        "sync": {"status": sync, "revision": revision},
        "health": {"status": "Progressing"},
        "operationState": {"phase": phase, "message": "one hook waits", "syncResult": {"revision": synced}},
        "conditions": [{"type": "ComparisonError", "message": "no such path"}],
        "resources": [
            {"kind": "Deployment", "name": "worker", "status": sync, "health": {"status": "Progressing"}},
            {"kind": "Service", "name": "keeper", "status": "Synced", "health": {"status": "Healthy"}},
        ],
    }


def running(found: dict[str, Any], log: Path) -> ArgoCD:
    return ArgoCD(cast(Kubectl, FakeKubectl({"metadata": {}, "status": found})), {"controller": log})


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(server, "_PATIENCE_SECONDS", 0.0)
    log = tmp_path / "controller.log"
    log.write_text("level=error msg=refused\n")
    return log


def test_only_the_repository_and_the_destination_are_not_the_examples() -> None:
    made = application("prod", "file:///here", "there")
    template = yaml.safe_load(EXAMPLE.read_text().replace("{{ .environment }}", "prod"))["spec"]["template"]
    assert made["spec"]["source"].pop("repoURL") == "file:///here"
    assert made["spec"].pop("destination") == {"name": "lab", "namespace": "there"}
    assert template["spec"]["source"].pop("repoURL")
    assert template["spec"].pop("destination")
    assert made["spec"] == template["spec"]
    assert made["metadata"]["name"] == template["metadata"]["name"] == "voice-agent-prod"


def test_the_repository_has_the_chart_and_values_and_takes_commits(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    values = repository.values("local")
    assert values == yaml.safe_load((VALUES / "local.yaml").read_text())
    revision = repository.commit("other", values | {"replicas": 3})
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", repository.url, clone], check=True)
    head = subprocess.run(["git", "-C", clone, "rev-parse", "main"], check=True, capture_output=True, text=True)
    assert head.stdout.strip() == revision
    assert yaml.safe_load((clone / "values" / "other.yaml").read_text())["replicas"] == 3
    assert (clone / CHART.relative_to(ROOT) / "Chart.yaml").read_text() == (CHART / "Chart.yaml").read_text()


@pytest.mark.parametrize(
    "found",
    [
        {},
        status(sync="OutOfSync"),
        status(phase="Running"),
        status(revision="old"),
        status(synced="old"),
        status(revision="old", synced="old"),
    ],
)
def test_what_is_not_synced_of_the_revision_is_waited_for(found: dict[str, Any], log: Path) -> None:
    with pytest.raises(TimeoutError, match="demo is not Synced"):
        running(found, log).synced("demo", "new")


def test_what_is_synced_is_not_waited_for(log: Path) -> None:
    running(status(), log).synced("demo", "new")
    assert not running(status(), log).differences("demo")
    assert running(status("OutOfSync"), log).differences("demo") == ["OutOfSync", "Deployment/worker"]


def test_a_wait_in_vain_tells_what_argo_cd_says_and_logs(log: Path) -> None:
    with pytest.raises(TimeoutError) as raised:
        running(status("OutOfSync"), log).healthy("demo")
    for words in ("ComparisonError: no such path", "one hook waits", "Deployment/worker: OutOfSync", "msg=refused"):
        assert words in str(raised.value)
    assert "Service/keeper" not in str(raised.value)
