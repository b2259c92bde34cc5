"""The images that the cluster runs, built without a registry and only when something in them changed."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.images import agent, livekit, simulator, valkey
from lab.images.builder import IMAGES, ImageError
from lab.images.image import Image
from lab.images.progress import say

__all__ = ["RECIPES", "Image", "ImageError", "archive_of", "build"]

RECIPES: dict[str, Callable[[], Image]] = {
    "voice-agent": agent.image,
    "voice-agent-lab": simulator.image,
    "livekit-server": livekit.image,
    "valkey": valkey.image,
}


def build(*names: str) -> list[Path]:
    """The docker-archives of the named images (of all, without a name), in that order.

    An archive whose inputs are unchanged is returned as it is.

    Raises:
        ImageError: there is no such image, or it cannot be built.
        FileNotFoundError: a program that goes into an image was not built yet.
    """
    if unknown := set(names) - RECIPES.keys():
        raise ImageError(f"no image {', '.join(sorted(unknown))}: there are {', '.join(RECIPES)}")
    with _locked():
        return [_archive(RECIPES[name]()) for name in names or RECIPES]


def archive_of(image: Image) -> Path:
    """The docker-archive of an image that is none of this checkout's, such as a released version's.

    Raises:
        ImageError: it cannot be built.
    """
    with _locked():
        return _archive(image)


@contextmanager
def _locked() -> Iterator[None]:
    """Two builds at once would write the same store and archives."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (IMAGES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _archive(image: Image) -> Path:
    if image.archive.exists():
        return image.archive
    say(f"building {image.name}")
    started = time.monotonic()
    unfinished = image.archive.with_suffix(".part")
    unfinished.unlink(missing_ok=True)
    image.make(unfinished)
    # An archive of half a gigabyte for every change of a line would fill the disk.
    for old in IMAGES.glob(f"{image.name}-????????????.tar"):
        old.unlink()
    unfinished.rename(image.archive)
    size = image.archive.stat().st_size / 1e6
    say(f"built {image.name}: {size:.0f} MB in {time.monotonic() - started:.0f} s")
    return image.archive
