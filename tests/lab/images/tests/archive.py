"""Reads docker-archives."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast


class Archive:
    """A docker-archive of one image."""

    def __init__(self, path: Path) -> None:
        self._path = path
        [self.manifest] = json.loads(self._read("manifest.json"))
        self.config: dict[str, Any] = json.loads(self._read(self.manifest["Config"]))

    @property
    def image_id(self) -> str:
        """The digest of the image's configuration, which holds those of its layers."""
        return str(self.manifest["Config"])

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the layers, the base's first."""
        return list(self.config["rootfs"]["diff_ids"])

    def files(self, *layers: int) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
        """Every regular file of the layers with those indices, with its first 16 bytes."""
        with tarfile.open(self._path) as outer:
            for index in layers:
                layer = outer.extractfile(self.manifest["Layers"][index])
                with tarfile.open(fileobj=layer) as tar:
                    for member in tar:
                        if member.isreg():
                            yield member, cast("Any", tar.extractfile(member)).read(16)

    def _read(self, name: str) -> bytes:
        with tarfile.open(self._path) as tar:
            return cast("Any", tar.extractfile(name)).read()  # type: ignore[no-any-return]
