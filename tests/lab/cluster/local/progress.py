"""Status lines with the time since the start."""

from __future__ import annotations

import sys
import time


class Progress:
    """Prints one plain line per step, so that nobody wonders whether anything happens."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def __call__(self, text: str) -> None:
        """Print one line."""
        sys.stdout.write(f"[{time.monotonic() - self._started:5.1f} s] {text}\n")
        sys.stdout.flush()
