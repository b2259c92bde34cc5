"""The chart's own linters and unit tests, and what Kubernetes says of what it renders."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from chart.helm import ALL_VALUES, CUSTOM, NAMESPACE, VALUES_FILES, objects, render
from lab.kubectl import Kubectl
from lab.paths import BIN, CHART, ROOT, tool
from lab.releases import Release, releases
from lab.stage import Stage


def _run(*command: str | Path, environment: dict[str, str] | None = None, folder: Path = ROOT) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **(environment or {})},
    )
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}", pytrace=False)
    return done.stdout


def test_helm_unittest() -> None:
    said = _run(tool("helm-unittest"), "--strict", CHART)
    assert re.search(r"^Tests: +[1-9]\d* passed, \d+ total$", said, re.MULTILINE), said


@pytest.mark.parametrize("name", VALUES_FILES)
def test_helm_lint(name: str) -> None:
    _run(tool("helm"), "lint", "--strict", CHART, "--values", VALUES_FILES[name])


def test_ct_lint() -> None:
    _run(tool("ct"), "lint", "--config", "ct.yaml", "--charts", CHART)


# The oldest that the chart admits, and those that are maintained or were lately, as far as there are schemas.
KUBERNETES = ("1.29.0", "1.32.0", "1.33.0", "1.34.0", "1.35.0", "1.36.0", "1.37.0")


@pytest.fixture(scope="module")
def rendered_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what each set of values renders, but for what is not Kubernetes'."""
    folder = tmp_path_factory.mktemp("rendered")
    for name, values in ALL_VALUES.items():
        kubernetes = [each for each in objects(render(values=values)) if each["kind"] not in CUSTOM]
        (folder / f"{name}.yaml").write_text(yaml.safe_dump_all(kubernetes))
    return folder


@pytest.mark.parametrize("kubernetes", KUBERNETES)
def test_kubeconform(rendered_files: Path, kubernetes: str) -> None:
    location = _run(sys.executable, "tools/schemas.py", kubernetes).strip()
    said = _run(
        tool("kubeconform"),
        "-strict",
        "-summary",
        f"-kubernetes-version={kubernetes}",
        f"-schema-location={location}",
        rendered_files,
    )
    assert re.search(r"Summary: [1-9]\d* resources .* Invalid: 0, Errors: 0, Skipped: 0", said), said


@pytest.mark.cluster
@pytest.mark.parametrize("name", VALUES_FILES)
def test_the_cluster_accepts_every_object(stage: Stage, tmp_path: Path, name: str) -> None:
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(render("--no-hooks", values=VALUES_FILES[name]))
    kubectl = Kubectl(stage.cluster.kubeconfig(), NAMESPACE)
    said = kubectl.run("apply", "--dry-run=server", "-f", str(rendered))
    assert "deployment.apps" in said


@pytest.mark.cluster
def test_ct_install_and_upgrade(stage: Stage, tmp_path: Path) -> None:
    """By the plain values file of ci/: an install, and an upgrade from the newest release, each with a `helm test`."""
    released = releases()[-1]
    repository = _with_release(released, tmp_path / "repository")
    said = _run(
        tool("ct"),
        "install",
        "--upgrade",
        "--config=ct.yaml",
        "--remote=origin",
        f"--target-branch={RELEASED}",
        "--charts=charts/voice-agent",
        f"--namespace={NAMESPACE}",
        environment={"KUBECONFIG": str(stage.cluster.kubeconfig())},
        folder=repository,
    )
    assert f'relative to previous revision "voice-agent => (version: \\"{released.version}\\"' in said
    # ct passes over a release that it cannot install or test.
    assert "skipped because" not in said, said


RELEASED = "released"
CT_VALUES = "simulated-values.yaml"


def _with_release(released: Release, repository: Path) -> Path:
    """A clone with the charts as they are here, whose remote has a branch with the release, where ct looks for it."""
    released.fetch()
    _run("git", "clone", "--quiet", "--shared", ROOT, repository)
    _run("git", "update-ref", f"refs/remotes/origin/{RELEASED}", released.commit, folder=repository)
    shutil.copytree(CHART, repository / "charts" / CHART.name, dirs_exist_ok=True)
    # Each takes minutes; the matrix installs with a store.
    for values in (repository / "charts" / CHART.name / "ci").glob("*"):
        if values.name != CT_VALUES:
            values.unlink()
    # ct takes a new minor version of 0.x for one that may break, and would not try the upgrade.
    chart = repository / "charts" / CHART.name / "Chart.yaml"
    patched = re.sub(r"\d+$", lambda patch: str(int(patch[0]) + 1), released.version)
    chart.write_text(re.sub(r"^version: .*$", f"version: {patched}", chart.read_text(), flags=re.MULTILINE))
    return repository
