"""Install the pinned uv into a folder of the checkout, with nothing but the system's Python.

uv makes the project's environment from the lock files; it is the one tool that has to be there before.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

UV_VERSION = "0.13.9"


def ensure_venv() -> None:
    """Make sure that the system's Python can make virtual environments.

    Debian and Ubuntu ship ``ensurepip`` in a package of its own.

    Raises:
        SystemExit: the package is missing and cannot be installed without root.
    """
    try:
        import ensurepip  # noqa: F401 - its presence is what is asked
    except ImportError:
        package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise SystemExit(f"bootstrap: Python's venv module is missing; install {package}") from None
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", package], check=True)


def main(target: Path) -> None:
    """Install uv so that its executable is ``target`` (``DIR/bin/uv``)."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before the project's Python is known
        raise SystemExit(f"bootstrap: Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}")
    ensure_venv()
    home = target.parent.parent
    print(f"bootstrap: uv {UV_VERSION}", flush=True)
    venv.create(home, with_pip=True, clear=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"uv=={UV_VERSION}"], check=True)
    target.touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
