"""Images of static programs and nothing else, written as docker-archives by hand."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import struct
import tarfile
from collections.abc import Sequence
from pathlib import Path

from lab.images.builder import ImageError

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# The program header of an ELF file that names a dynamic loader (elf(5)).
PT_INTERP = 3

# Nobody's, as in https://github.com/kubernetes/kubernetes/blob/master/build/pause/Dockerfile
USER = "65535:65535"


def write_archive(archive: Path, tag: str, programs: Sequence[Path]) -> None:
    """Write the docker-archive of an image with programs in its root folder; the first is the entry point.

    The same programs make the same bytes.

    Raises:
        ImageError: a program needs a loader and libraries, which the image would not have.
    """
    for program in programs:
        if _is_dynamic(program):
            raise ImageError(f"{program} is dynamically linked: build it with CGO_ENABLED=0 (`make tools`)")
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for program in programs:
            _add(tar, program.name, program.read_bytes(), mode=0o755)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": ARCHITECTURES[platform.machine()],
            "os": "linux",
            "config": {"Entrypoint": [f"/{programs[0].name}"], "User": USER},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [tag], "Layers": [f"{digest}.tar"]}]
    with tarfile.open(archive, "w") as tar:
        _add(tar, config_name, config)
        _add(tar, f"{digest}.tar", layer.getvalue())
        _add(tar, "manifest.json", json.dumps(manifest).encode())


def _is_dynamic(program: Path) -> bool:
    """Whether a 64-bit little-endian ELF file asks for a dynamic loader."""
    with program.open("rb") as file:
        header = file.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            return False
        table, size, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
        file.seek(table)
        entries = file.read(size * count)
    return any(struct.unpack_from("<I", entries, i * size)[0] == PT_INTERP for i in range(count))


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    member.mode = mode
    tar.addfile(member, io.BytesIO(data))
