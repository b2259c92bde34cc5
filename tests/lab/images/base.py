"""The images that the agent image is built on: a public one, or Debian's packages where no registry is reachable."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lab import packages
from lab.images.builder import EPOCH, IMAGES, Builder, ImageError
from lab.images.inputs import key
from lab.images.progress import say
from lab.paths import ROOT

SUITE = "trixie"

# libstdc++ is what the wheels of numpy, PyAV and LiveKit need besides the C library.
RUNTIME = ("ca-certificates", "libstdc++6", "python3")
BUILD = (*RUNTIME, "python3-venv")

LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")

NEEDED = {
    "mmdebstrap": "mmdebstrap",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

DOCKERFILE = """\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""


@dataclass(frozen=True)
class Bases:
    """The images of the Dockerfile's two build arguments."""

    runtime: str
    build: str


def choice() -> str:
    """The base that was asked for: an image reference, ``debian``, or empty for whatever can be had."""
    return os.environ.get("LAB_BASE_IMAGE", "")


def public(dockerfile: Path) -> str:
    """The public base image, as the Dockerfile pins it.

    Raises:
        ImageError: the Dockerfile has no such line.
    """
    for line in dockerfile.read_text().splitlines():
        if line.startswith("ARG BASE_IMAGE="):
            return line.partition("=")[2]
    raise ImageError(f"{dockerfile} has no line ARG BASE_IMAGE=…")


def provide(builder: Builder, dockerfile: Path) -> Bases:
    """Make sure that the builder has base images, and name them.

    Raises:
        ImageError: the image that was asked for cannot be pulled, or Debian's packages cannot be had.
    """
    if pulled := _pulled(builder, dockerfile):
        return Bases(pulled, pulled)
    return Bases(_debian(builder, "base", RUNTIME), _debian(builder, "build-base", BUILD))


def provide_with(builder: Builder, dockerfile: Path, package: str) -> str:
    """A base image with one of Debian's packages, or, where images can be pulled, with apt-get that installs it.

    Raises:
        ImageError: as `provide`.
    """
    return _pulled(builder, dockerfile) or _debian(builder, package, (package,))


def _pulled(builder: Builder, dockerfile: Path) -> str | None:
    """The image that was asked for, or else the public one, if a registry has it."""
    asked = choice()
    if asked == "debian":
        return None
    reference = asked or public(dockerfile)
    if builder.pull(reference):
        return reference
    if asked:
        raise ImageError(f"LAB_BASE_IMAGE={asked} cannot be pulled: name another image, or `debian`")
    say(f"no registry has {reference.partition('@')[0]}: making a base of Debian {SUITE}'s packages")
    return None


def _debian(builder: Builder, name: str, wanted: tuple[str, ...]) -> str:
    """An image of Debian's essential packages and those that are wanted, made anew only if the list changed."""
    made_of = key(ROOT, [], SUITE, *wanted, *LEFT_OUT, DOCKERFILE)
    tag = f"localhost/{name}:{made_of}"
    if builder.has(tag):
        return tag
    try:
        packages.ensure(NEEDED, say)
    except packages.MissingPackagesError as error:
        raise ImageError(str(error)) from error
    if os.geteuid() != 0:
        raise ImageError("a Debian base can only be made by root: set LAB_BASE_IMAGE to an image that can be pulled")
    say(f"{name}: Debian {SUITE} with {', '.join(wanted)}")
    with tempfile.TemporaryDirectory(dir=IMAGES) as folder:
        rootfs, dockerfile = Path(folder, "rootfs.tar"), Path(folder, "Dockerfile")
        dockerfile.write_text(DOCKERFILE)
        command = ["mmdebstrap", "--quiet", "--variant=essential", f"--include={','.join(wanted)}"]
        excludes = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
        done = subprocess.run(
            [*command, *excludes, SUITE, str(rootfs)],
            capture_output=True,
            text=True,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        )
        if done.returncode != 0:
            raise ImageError(f"mmdebstrap failed ({done.returncode}):\n{done.stderr[-3000:]}")
        builder.build(Path(folder), dockerfile, tag, {})
    return tag
