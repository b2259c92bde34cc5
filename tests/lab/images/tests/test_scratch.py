from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from lab.images.builder import ImageError
from lab.images.scratch import write_archive


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.write_bytes(b"#!static\n")
    return path


def read(tar: tarfile.TarFile, name: str) -> bytes:
    member = tar.extractfile(name)
    assert member is not None
    return member.read()


def test_archive_describes_what_it_holds(program: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "image.tar", "example.org/server:1", [program])

    with tarfile.open(tmp_path / "image.tar") as tar:
        [manifest] = json.loads(read(tar, "manifest.json"))
        config = json.loads(read(tar, manifest["Config"]))
        [layer_name] = manifest["Layers"]
        layer = read(tar, layer_name)
    assert manifest["RepoTags"] == ["example.org/server:1"]
    assert config["config"] == {"Entrypoint": ["/server"], "User": "65535:65535"}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert [(member.name, member.mode) for member in tar] == [("server", 0o755)]
        assert read(tar, "server") == b"#!static\n"


def test_same_program_makes_the_same_bytes(program: Path, tmp_path: Path) -> None:
    for name in ("one.tar", "two.tar"):
        write_archive(tmp_path / name, "example.org/server:1", [program])
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_program_that_needs_libraries_is_refused(tmp_path: Path) -> None:
    # Every Debian links its shell dynamically.
    shell = Path("/bin/sh").resolve()
    with pytest.raises(ImageError, match=r"dynamically linked: build it with CGO_ENABLED=0"):
        write_archive(tmp_path / "image.tar", "example.org/shell:1", [shell])
    assert not (tmp_path / "image.tar").exists()
