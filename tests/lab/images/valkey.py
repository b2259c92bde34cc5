"""Valkey's image: Debian's package, on the agent image's public base or by itself."""

from __future__ import annotations

import platform
import tempfile
from pathlib import Path

from lab.images import agent, base
from lab.images.builder import IMAGES, get_builder
from lab.images.image import Image
from lab.images.inputs import key
from lab.paths import ROOT

REFERENCE = "docker.io/library/valkey:local"
DOCKERFILE = Path(__file__).with_name("valkey.Dockerfile")
PACKAGE = "valkey-server"


def image() -> Image:
    """Valkey's image."""
    made_of = key(ROOT, [DOCKERFILE], PACKAGE, platform.machine(), base.choice(), base.SUITE, *base.LEFT_OUT)
    return Image("valkey", REFERENCE, made_of, _make)


def _make(archive: Path) -> None:
    builder = get_builder()
    tag = f"localhost/valkey:{image().key}"
    with tempfile.TemporaryDirectory(dir=IMAGES) as folder:
        arguments = {"BASE_IMAGE": base.provide_with(builder, agent.DOCKERFILE, PACKAGE)}
        builder.build(Path(folder), DOCKERFILE, tag, arguments)
    builder.forget_others(tag)
    builder.save(tag, REFERENCE, archive)
