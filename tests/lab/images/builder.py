"""What builds images from Dockerfiles: Docker where its daemon answers, else Debian's buildah, which needs none."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from lab import packages
from lab.images.progress import say
from lab.paths import BUILD

IMAGES = BUILD / "images"

# All dates in an image are this one, so that the same inputs make the same layers.
EPOCH = 0

SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

# The old builder, which a client without buildx falls back to, cannot mount secrets.
DOCKER_PROBES = (("docker", "info"), ("docker", "buildx", "version"))


class ImageError(Exception):
    """An image cannot be built; the message says what failed and where to look."""


class Builder(Protocol):
    """A program that builds images and keeps them in a store of its own."""

    def build(
        self, context: Path, dockerfile: Path, tag: str, arguments: Mapping[str, str], *, cached: bool = True
    ) -> None:
        """Build ``dockerfile`` with the files of ``context``; the image is then known as ``tag``.

        Raises:
            ImageError: the build failed.
        """

    def pull(self, reference: str) -> bool:
        """Whether the image is in the store, fetched from its registry if need be."""

    def has(self, tag: str) -> bool:
        """Whether the store has the image."""

    def save(self, tag: str, name: str, archive: Path) -> None:
        """Write a docker-archive in which the image is called ``name``."""

    def forget_others(self, tag: str) -> None:
        """Remove the images that have the same name with another tag."""


def _run(command: list[str], output_to: Path | None = None) -> str:
    if output_to is None:
        done = subprocess.run(command, capture_output=True, text=True)
        output = done.stdout + done.stderr
    else:
        with output_to.open("w") as file:
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, text=True)
        output = f"{''.join(output_to.read_text().splitlines(keepends=True)[-30:])}(all of it: {output_to})"
    if done.returncode != 0:
        raise ImageError(f"{command[0]} failed ({done.returncode}):\n{output}")
    return output


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=600).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False


def _arguments(arguments: Mapping[str, str]) -> list[str]:
    """Build arguments, and the host's certificates: a proxy that intercepts TLS is known to the host only."""
    options = [f"--build-arg={name}={value}" for name, value in sorted(arguments.items())]
    bundle = Path(os.environ.get("SSL_CERT_FILE", SYSTEM_CERTIFICATES))
    if bundle.is_file():
        options.append(f"--secret=id=ca-bundle,src={bundle}")
    return options


def log(tag: str) -> Path:
    """Where the log of an image's last build is."""
    return IMAGES / f"{tag.rpartition('/')[2].partition(':')[0]}.log"


class Docker:
    """Docker with BuildKit."""

    def build(
        self, context: Path, dockerfile: Path, tag: str, arguments: Mapping[str, str], *, cached: bool = True
    ) -> None:
        """See `Builder.build`."""
        options = [] if cached else ["--no-cache"]
        dates = {"SOURCE_DATE_EPOCH": str(EPOCH)}
        command = ["docker", "build", "--progress=plain", f"--tag={tag}", f"--file={dockerfile}", *options]
        _run([*command, *_arguments({**arguments, **dates}), str(context)], log(tag))

    def pull(self, reference: str) -> bool:
        """See `Builder.pull`."""
        return self.has(reference) or _succeeds("docker", "pull", "--quiet", reference)

    def has(self, tag: str) -> bool:
        """See `Builder.has`."""
        return _succeeds("docker", "image", "inspect", tag)

    def save(self, tag: str, name: str, archive: Path) -> None:
        """See `Builder.save`."""
        _run(["docker", "tag", tag, name])
        _run(["docker", "save", f"--output={archive}", name])

    def forget_others(self, tag: str) -> None:
        """See `Builder.forget_others`."""
        name = tag.rpartition(":")[0]
        tags = _run(["docker", "image", "ls", "--format={{.Repository}}:{{.Tag}}", name]).split()
        for other in set(tags) - {tag}:
            _run(["docker", "image", "rm", other])


class Buildah:
    """Buildah without a daemon: its steps are chroots of this machine, so it needs root and no name spaces."""

    def __init__(self, store: Path = IMAGES / "store", lower: Path | None = None) -> None:
        """Images are kept in ``store``; those of the store ``lower`` can be used as well, and are never changed."""
        self._store = store
        self._lower = lower

    def above(self, store: Path) -> Buildah:
        """A builder that can use this one's images and keeps what it makes in a store that can be thrown away."""
        return Buildah(store, self._store)

    def _command(self, *args: str) -> list[str]:
        options = [f"--root={self._store}", f"--runroot={self._store}.run", "--storage-driver=overlay"]
        if self._lower:
            options.append(f"--storage-opt=additionalimagestore={self._lower}")
        return ["buildah", *options, *args]

    def build(
        self, context: Path, dockerfile: Path, tag: str, arguments: Mapping[str, str], *, cached: bool = True
    ) -> None:
        """See `Builder.build`."""
        options = ["--isolation=chroot", "--network=host", "--pull=never", "--layers", f"--timestamp={EPOCH}"]
        if not cached:
            options.append("--no-cache")
        command = self._command("build", *options, f"--tag={tag}", f"--file={dockerfile}")
        _run([*command, *_arguments(arguments), str(context)], log(tag))

    def pull(self, reference: str) -> bool:
        """See `Builder.pull`."""
        return self.has(reference) or _succeeds(*self._command("pull", "--quiet", "--retry=1", reference))

    def has(self, tag: str) -> bool:
        """See `Builder.has`."""
        return _succeeds(*self._command("inspect", "--type=image", tag))

    def save(self, tag: str, name: str, archive: Path) -> None:
        """See `Builder.save`."""
        _run(self._command("push", "--quiet", tag, f"docker-archive:{archive}:{name}"))

    def forget_others(self, tag: str) -> None:
        """See `Builder.forget_others`."""
        name = tag.rpartition(":")[0]
        # A build that was interrupted has left its container, which would hold its image for ever.
        _run(self._command("rm", "--all"))
        tags = _run(self._command("images", "--format={{.Name}}:{{.Tag}}")).split()
        for other in tags:
            if other.startswith(f"{name}:") and other != tag:
                _run(self._command("rmi", other))


def get_builder() -> Builder:
    """Docker where its daemon answers and BuildKit's client is there, else buildah.

    Raises:
        ImageError: neither is there and neither can be had.
    """
    IMAGES.mkdir(parents=True, exist_ok=True)
    wanting = next((probe for probe in DOCKER_PROBES if not _succeeds(*probe)), None)
    if wanting is None:
        return Docker()
    reason = f"Docker cannot be used (`{' '.join(wanting)}` fails)"
    if os.geteuid() != 0:
        raise ImageError(f"{reason}: mend it, or run this as root to use buildah")
    try:
        packages.ensure({"buildah": "buildah"}, say)
    except packages.MissingPackagesError as error:
        raise ImageError(f"{reason}, and for buildah {error}") from error
    return Buildah()
