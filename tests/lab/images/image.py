"""An image and the archive that holds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.images.builder import IMAGES


@dataclass(frozen=True)
class Image:
    """How one image is made.

    Attributes:
        name: what the lab calls it.
        reference: what Kubernetes calls it.
        key: changes with whatever goes into it.
        make: writes the docker-archive.
    """

    name: str
    reference: str
    key: str
    make: Callable[[Path], None]

    @property
    def archive(self) -> Path:
        """Where the docker-archive is kept until something that goes into the image changes."""
        return IMAGES / f"{self.name}-{self.key}.tar"
