from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab import packages
from lab.images import builder
from lab.images.builder import Buildah, Docker, ImageError, get_builder


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(packages, "SEARCH_PATH", str(folder))
    monkeypatch.setattr(builder, "IMAGES", tmp_path)
    return folder


def program(path: Path, name: str, status: int) -> None:
    (path / name).write_text(f"#!/bin/sh\nexit {status}\n")
    (path / name).chmod(0o755)


def test_docker_is_used_where_its_daemon_answers(path: Path) -> None:
    program(path, "docker", 0)
    assert isinstance(get_builder(), Docker)


def test_buildah_is_used_where_docker_has_no_daemon(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    program(path, "docker", 1)
    program(path, "buildah", 0)
    assert isinstance(get_builder(), Buildah)


def test_buildah_is_used_where_docker_has_no_buildkit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (path / "docker").write_text('#!/bin/sh\ntest "$1" = info\n')
    (path / "docker").chmod(0o755)
    program(path, "buildah", 0)
    assert isinstance(get_builder(), Buildah)


def test_a_user_without_docker_is_told_both_ways_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ImageError, match=r"`docker info` fails\): mend it, or run this as root"):
        get_builder()


def test_root_on_another_distribution_is_told_the_package(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(ImageError, match=r"packages are missing: buildah"):
        get_builder()


def test_failed_build_shows_the_end_of_its_log_and_where_the_rest_is(path: Path, tmp_path: Path) -> None:
    (path / "buildah").write_text("#!/bin/sh\necho STEP 7 went wrong >&2\nexit 3\n")
    (path / "buildah").chmod(0o755)
    with pytest.raises(ImageError, match=r"buildah failed \(3\):\nSTEP 7 went wrong\n.*thing\.log"):
        Buildah(tmp_path / "store").build(tmp_path, tmp_path / "Dockerfile", "localhost/thing:1", {})


@pytest.mark.image
@pytest.mark.skipif(os.geteuid() != 0, reason="buildah needs root")
def test_a_build_that_was_interrupted_does_not_hold_its_image_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builder, "IMAGES", tmp_path)
    packages.ensure({"buildah": "buildah"}, print)
    dockerfile = tmp_path / "Dockerfile"
    buildah = Buildah(tmp_path / "store")
    for tag in ("localhost/test:old", "localhost/test:new"):
        dockerfile.write_text(f"FROM scratch\nLABEL tag={tag}\n")
        buildah.build(tmp_path, dockerfile, tag, {})
    subprocess.run(buildah._command("from", "localhost/test:old"), check=True)
    buildah.forget_others("localhost/test:new")
    assert (buildah.has("localhost/test:old"), buildah.has("localhost/test:new")) == (False, True)
