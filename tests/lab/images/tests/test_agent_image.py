"""The agent image as it is shipped. Building it takes a minute, and another one to prove that it is reproducible."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.images import agent, build
from lab.images.builder import IMAGES, Buildah, Builder, get_builder
from lab.images.tests.archive import Archive
from lab.paths import ROOT

pytestmark = pytest.mark.image

# Bits of a hash-based pyc that is never checked against its source (PEP 552).
UNCHECKED_HASH = 0b01


@pytest.fixture(scope="module")
def image() -> Archive:
    [path] = build("voice-agent")
    return Archive(path)


@pytest.fixture(scope="module")
def files(image: Archive) -> dict[str, bytes]:
    """Every file that the Dockerfile adds to the base, with its first 16 bytes."""
    added = range(1, len(image.diff_ids))
    return {f"/{member.name}": start for member, start in image.files(*added)}


def test_runs_python_itself_as_a_user_without_rights(image: Archive) -> None:
    config = image.config["config"]
    assert config["Entrypoint"] == ["/opt/venv/bin/python", "-m", "voice_agent"]
    assert config["Cmd"] == ["worker"]
    uid, gid = config["User"].split(":")
    # runAsNonRoot needs numbers: the kubelet does not look names up.
    assert int(uid) > 0
    assert int(gid) > 0


def test_tells_what_it_is(image: Archive) -> None:
    labels = image.config["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "voice-agent"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    version = re.search(r'^version = "(.+)"$', (agent.CONTEXT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None
    assert labels["org.opencontainers.image.version"] == version.group(1)


def test_holds_the_package_and_not_what_built_it(files: dict[str, bytes]) -> None:
    assert any(name.endswith("/site-packages/voice_agent/__main__.py") for name in files)
    assert "/opt/venv/bin/voice-agent" in files
    left = [
        name for name in files if re.search(r"/(uv|pip|hatchling)(-[\d.]+\.dist-info)?/|/bin/(uv|pip)$|/tests/", name)
    ]
    assert left == []


def test_holds_no_certificates_of_the_machine_that_built_it(files: dict[str, bytes]) -> None:
    assert [name for name in files if not name.startswith("/opt/venv/")] == []


def test_every_module_is_compiled_and_never_compiled_again(files: dict[str, bytes]) -> None:
    sources = {name for name in files if name.endswith(".py") and "/site-packages/" in name}
    compiled = {
        re.sub(r"__pycache__/(.+)\.cpython-\d+\.pyc$", r"\1.py", name): int.from_bytes(start[4:8], "little")
        for name, start in files.items()
        if name.endswith(".pyc")
    }
    assert set(compiled.values()) == {UNCHECKED_HASH}
    # Two libraries ship templates that are no valid Python.
    assert len(sources - compiled.keys()) <= 2, sources - compiled.keys()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Room for gigabytes; pytest would keep those of its `tmp_path` for three runs."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=IMAGES) as path:
        yield Path(path)


@pytest.fixture
def builder(folder: Path) -> Builder:
    """A builder that leaves nothing behind; Docker cleans up its own cache."""
    builder = get_builder()
    return builder.above(folder / "store") if isinstance(builder, Buildah) else builder


def test_same_inputs_make_the_same_layers(image: Archive, builder: Builder, folder: Path) -> None:
    tag = "localhost/reproduced:test"
    agent.build(builder, tag, cached=False)
    builder.save(tag, agent.REFERENCE, folder / "again.tar")

    again = Archive(folder / "again.tar")

    assert again.diff_ids == image.diff_ids
    assert again.image_id == image.image_id


def test_replaced_images_are_forgotten_and_no_others(builder: Builder, folder: Path) -> None:
    dockerfile = folder / "Dockerfile"
    tags = ["localhost/thing:1", "localhost/thing:2", "localhost/thing-else:1"]
    for tag in tags:
        dockerfile.write_text(f"FROM scratch\nLABEL tag={tag}\n")
        builder.build(folder, dockerfile, tag, {})
    builder.forget_others("localhost/thing:2")
    assert [builder.has(tag) for tag in tags] == [False, True, True]


def test_own_agent_is_one_layer_more(image: Archive, builder: Builder, folder: Path) -> None:
    example = ROOT / "examples" / "own-agent"
    tag = "localhost/florist:test"
    builder.build(example, example / "Dockerfile", tag, {"AGENT_IMAGE": agent.provide(builder)})
    builder.save(tag, "docker.io/library/florist:test", folder / "florist.tar")

    florist = Archive(folder / "florist.tar")

    assert florist.diff_ids[:-1] == image.diff_ids
    assert [member.name for member, _ in florist.files(-1)] == ["app/florist.py"]
    for kept in ("Entrypoint", "Cmd", "User"):
        assert florist.config["config"][kept] == image.config["config"][kept]
