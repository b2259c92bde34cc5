"""Where things are in the checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / ".build"
BIN = BUILD / "bin"
CHART = ROOT / "charts" / "voice-agent"
VALUES = ROOT / "values"


def tool(name: str) -> Path:
    """The path of a pinned command-line tool.

    Raises:
        FileNotFoundError: the tool was not built yet; the message says how.
    """
    path = BIN / name
    if not path.exists():
        raise FileNotFoundError(f"{name} is not in {BIN}: run `make tools`")
    return path


def tool_on_demand(name: str) -> Path:
    """The path of a pinned command-line tool that `make tools` leaves out, because it takes minutes to build.

    Raises:
        CalledProcessError: it was not there and could not be built; the builder has said why.
    """
    subprocess.run([sys.executable, str(ROOT / "tools" / "build.py"), name], check=True)
    return tool(name)
