"""Programs that come as Debian packages: installed where we may, named where we may not."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from lab.paths import BUILD

# Debian keeps administrators' programs where a user's PATH often does not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class MissingPackagesError(Exception):
    """Programs are not there and cannot be installed; the message holds the command that does it."""


def missing(needed: Mapping[str, str]) -> list[str]:
    """The packages of which something is not there.

    Args:
        needed: a program's name, or a file's absolute path, to the package that holds it.
    """
    return sorted({package for program, package in needed.items() if not _present(program)})


def _present(program: str) -> bool:
    path = Path(program)
    return path.exists() if path.is_absolute() else shutil.which(program, path=SEARCH_PATH) is not None


def ensure(needed: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Install what is missing.

    Args:
        needed: as for `missing`.
        say: is told what is installed before it is.

    Raises:
        MissingPackagesError: not root, no apt-get, or apt-get failed.
    """
    if not missing(needed):
        return
    BUILD.mkdir(exist_ok=True)
    # apt-get does not wait for another: the images may be built beside tests that need a server.
    with (BUILD / "packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install(needed, say)


def _install(needed: Mapping[str, str], say: Callable[[str], None]) -> None:
    wanted = missing(needed)
    if not wanted:
        return
    install = ["apt-get", "install", "-y", "--no-install-recommends", *wanted]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise MissingPackagesError(
            f"packages are missing: {', '.join(wanted)}. On Debian or Ubuntu: sudo {' '.join(install)}"
        )
    say(f"installing {', '.join(wanted)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-q"], install):
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise MissingPackagesError(f"{' '.join(install)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if still := missing(needed):
        raise MissingPackagesError(f"{', '.join(still)} installed, but not where Debian has it")
