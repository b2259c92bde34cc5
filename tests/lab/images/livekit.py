"""livekit-server's image: the pinned program and nothing else."""

from __future__ import annotations

from pathlib import Path

from lab.images.image import Image
from lab.images.inputs import key
from lab.images.scratch import write_archive
from lab.paths import BIN, tool

REFERENCE = "docker.io/library/livekit-server:local"


def image() -> Image:
    """The image of the livekit-server that `make tools` built.

    Raises:
        FileNotFoundError: it was not built yet.
    """
    return Image("livekit-server", REFERENCE, key(BIN, [tool("livekit-server")]), _make)


def _make(archive: Path) -> None:
    write_archive(archive, REFERENCE, [tool("livekit-server")])
