from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lab.images import agent
from lab.paths import CHART, ROOT
from lab.releases import Release, ReleaseError, releases
from lab.version import CHANGELOG, version


@pytest.mark.parametrize("release", releases(), ids=lambda release: release.version)
def test_a_release_is_what_its_commit_holds(release: Release) -> None:
    about = release.path(CHART / "Chart.yaml").read_text()
    assert f"\nversion: {release.version}\n" in about
    assert f"\nappVersion: {release.version}\n" in about
    image = release.image()
    assert image.reference == f"docker.io/library/voice-agent:{release.version}"
    assert image.archive != agent.image().archive


def test_every_version_before_this_one_is_listed() -> None:
    dated = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - ", CHANGELOG.read_text(), re.MULTILINE)
    missing = set(dated) - {version()} - {release.version for release in releases()}
    assert not missing, f"add {sorted(missing)} with their tags' commits to tests/lab/releases.yaml"


def test_a_commit_that_git_does_not_have_is_told() -> None:
    with pytest.raises(ReleaseError, match=r"no commit 0{40}, which version 0\.0\.9 was made from"):
        Release("0.0.9", "0" * 40).path(ROOT / "values")


def test_a_clone_without_its_history_is_given_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", ROOT.as_uri(), shallow], check=True)
    monkeypatch.setattr("lab.releases.ROOT", shallow)
    releases()[0].fetch()
