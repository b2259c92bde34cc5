from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.images import agent, base
from lab.images.base import Bases
from lab.images.builder import Buildah, ImageError


class Registry(Buildah):
    """A builder that finds some images in a registry, and has made Debian's bases before."""

    def __init__(self, *images: str) -> None:
        self.images = images

    def pull(self, reference: str) -> bool:
        return reference in self.images

    def has(self, tag: str) -> bool:
        return tag.startswith("localhost/")


def test_public_base_is_pinned_by_digest() -> None:
    assert re.fullmatch(r"docker\.io/library/python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base.public(agent.DOCKERFILE))


def test_public_base_is_used_for_both_stages_where_it_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_BASE_IMAGE", raising=False)
    public = base.public(agent.DOCKERFILE)
    assert base.provide(Registry(public), agent.DOCKERFILE) == Bases(public, public)


def test_debian_base_is_used_where_no_registry_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LAB_BASE_IMAGE", raising=False)
    bases = base.provide(Registry(), agent.DOCKERFILE)
    assert bases.runtime.startswith("localhost/base:")
    assert bases.build.startswith("localhost/build-base:")
    assert "no registry has docker.io/library/python" in capsys.readouterr().out


def test_debian_base_is_used_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_BASE_IMAGE", "debian")
    bases = base.provide(Registry(base.public(agent.DOCKERFILE)), agent.DOCKERFILE)
    assert bases.runtime.startswith("localhost/base:")


def test_base_that_was_asked_for_and_cannot_be_had_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_BASE_IMAGE", "example.org/python:3")
    with pytest.raises(ImageError, match=r"LAB_BASE_IMAGE=example\.org/python:3 cannot be pulled"):
        base.provide(Registry(), agent.DOCKERFILE)


def test_dockerfile_without_a_base_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(ImageError, match="has no line ARG BASE_IMAGE="):
        base.public(tmp_path / "Dockerfile")


def test_a_package_comes_with_a_base_of_debians_packages_and_into_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_BASE_IMAGE", raising=False)
    public = base.public(agent.DOCKERFILE)
    assert base.provide_with(Registry(public), agent.DOCKERFILE, "valkey-server") == public
    assert base.provide_with(Registry(), agent.DOCKERFILE, "valkey-server").startswith("localhost/valkey-server:")
