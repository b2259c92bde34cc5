"""The Gemini simulator's image, made FROM the agent image."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from lab.images import agent
from lab.images.builder import IMAGES, get_builder
from lab.images.image import Image
from lab.images.inputs import files, key
from lab.paths import ROOT

REFERENCE = "docker.io/library/voice-agent-lab:local"
DOCKERFILE = Path(__file__).with_name("simulator.Dockerfile")

LAB = ROOT / "tests" / "lab"


def sources() -> list[Path]:
    """What the simulator imports; the rest of the lab changes without a new image."""
    package = [file for file in files(LAB / "gemini") if file.suffix == ".py"]
    return [LAB / "__init__.py", LAB / "signals.py", *package]


def image() -> Image:
    """The simulator's image of this checkout."""
    return Image("voice-agent-lab", REFERENCE, key(ROOT, [DOCKERFILE, *sources()], agent.image().key), _make)


def _make(archive: Path) -> None:
    builder = get_builder()
    tag = f"localhost/voice-agent-lab:{image().key}"
    with tempfile.TemporaryDirectory(dir=IMAGES) as folder:
        for file in sources():
            copy = Path(folder, "lab", file.relative_to(LAB))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        builder.build(Path(folder), DOCKERFILE, tag, {"AGENT_IMAGE": agent.provide(builder)})
    builder.forget_others(tag)
    builder.save(tag, REFERENCE, archive)
