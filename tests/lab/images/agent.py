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

# What the Dockerfile copies, besides itself.
INPUTS = ("Dockerfile", "build-requirements.txt", "pyproject.toml", "uv.lock", "README.md", "src")


def image() -> Image:
    """The agent image of this checkout."""
    return Image("voice-agent", REFERENCE, _key(CONTEXT), _make)


def released(version: str, context: Path) -> Image:
    """The agent image of a released version, from that version's ``images/agent``."""
    made_of = _key(context)

    def make(archive: Path) -> None:
        builder = get_builder()
        tag = f"localhost/voice-agent-{version}:{made_of}"
        build(builder, tag, context)
        builder.save(tag, reference, archive)

    reference = f"{REFERENCE.rpartition(':')[0]}:{version}"
    return Image(f"voice-agent-{version}", reference, made_of, make)


def _key(context: Path) -> str:
    inputs = [context / name for name in INPUTS]
    settings = (platform.machine(), base.choice(), base.SUITE, *base.RUNTIME, *base.LEFT_OUT)
    return key(context.parents[1], inputs, *settings)


def build(builder: Builder, tag: str, context: Path = CONTEXT, *, cached: bool = True) -> None:
    """Build the agent image as ``tag`` in the builder's store.

    Raises:
        ImageError: no base image can be had, or the build failed.
    """
    dockerfile = context / "Dockerfile"
    bases = base.provide(builder, dockerfile)
    arguments = {"BASE_IMAGE": bases.runtime, "BUILD_IMAGE": bases.build}
    builder.build(context, dockerfile, tag, arguments, cached=cached)


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
