"""Install a program from PyPI into a folder of the checkout, with nothing but the system's Python.

Without a second argument it is the pinned uv, which makes the project's environment from the lock files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

UV = "uv==0.13.9"


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


def main(target: Path, requirement: str = UV) -> None:
    """Install the program so that its executable is ``target`` (``DIR/bin/NAME``)."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before the project's Python is known
        raise SystemExit(f"bootstrap: Python 3.11 or newer is needed, {sys.executable} is {sys.version.split()[0]}")
    ensure_venv()
    home = target.parent.parent
    print(f"bootstrap: {requirement}", flush=True)
    venv.create(home, with_pip=True, clear=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if subprocess.run([*pip, requirement]).returncode != 0:
        raise SystemExit(f"bootstrap: {requirement} could not be installed, see above; is PyPI reachable?")
    target.touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
