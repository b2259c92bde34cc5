"""The agent image, from `images/agent`."""

from __future__ import annotations

import platform
from pathlib import Path

from lab.images import base
from lab.images.builder import Builder, get_builder
from lab.images.image import Image
from lab.images.inputs import key
from lab.paths import ROOT

CONTEXT = ROOT / "images" / "agent"
DOCKERFILE = CONTEXT / "Dockerfile"
REFERENCE = "docker.io/library/voice-agent:local"

# What the Dockerfile copies.
INPUTS = [
    DOCKERFILE,
    *(CONTEXT / name for name in ("build-requirements.txt", "pyproject.toml", "uv.lock", "README.md", "src")),
]


def image() -> Image:
    """The agent image of this checkout."""
    made_of = key(ROOT, INPUTS, platform.machine(), base.choice(), base.SUITE, *base.RUNTIME, *base.LEFT_OUT)
    return Image("voice-agent", REFERENCE, made_of, _make)


def build(builder: Builder, tag: str, *, cached: bool = True) -> None:
    """Build the agent image as ``tag`` in the builder's store.

    Raises:
        ImageError: no base image can be had, or the build failed.
    """
    bases = base.provide(builder, DOCKERFILE)
    arguments = {"BASE_IMAGE": bases.runtime, "BUILD_IMAGE": bases.build}
    builder.build(CONTEXT, DOCKERFILE, tag, arguments, cached=cached)


def provide(builder: Builder) -> str:
    """The tag of this checkout's agent image in the builder's store, put there if it is not."""
    agent = image()
    tag = f"localhost/voice-agent:{agent.key}"
    if not builder.has(tag):
        build(builder, tag)
        builder.forget_others(tag)
    return tag


def _make(archive: Path) -> None:
    builder = get_builder()
    builder.save(provide(builder), REFERENCE, archive)
