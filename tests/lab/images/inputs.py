"""What an image is made of, as a key: the same inputs need no second build."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

# Never part of an image; they come and go as tests run.
IGNORED = frozenset({"__pycache__", "tests"})


def files(folder: Path) -> Iterator[Path]:
    """The files below a folder that go into an image, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if path.is_file() and path.suffix != ".pyc" and not IGNORED.intersection(inside):
            yield path


def key(root: Path, paths: Iterable[Path], *settings: str) -> str:
    """Twelve hexadecimal digits that change with any file's name or content, and with any setting.

    Args:
        root: the folder that names are relative to, so that the key does not depend on where it is.
        paths: files, and folders with all their `files`.
        settings: whatever else the image depends on.
    """
    digest = hashlib.sha256()
    for path in paths:
        for file in files(path) if path.is_dir() else [path]:
            _add(digest, str(file.relative_to(root)).encode())
            _add(digest, hashlib.sha256(file.read_bytes()).digest())
    for setting in settings:
        _add(digest, setting.encode())
    return digest.hexdigest()[:12]


def _add(digest: hashlib._Hash, part: bytes) -> None:
    digest.update(len(part).to_bytes(8, "big"))
    digest.update(part)
