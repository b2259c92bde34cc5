"""How a worker leaves."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the worker's exit code tells an operator."""

    OK = 0
    """Every call ended by itself, or went to another pod."""
    CRASHED = 1
    """A defect; the log has the traceback."""
    SETTINGS = 2
    """Settings are wrong; no connection was made."""
    CALLS_LOST = 3
    """In the drain, calls were cut at the deadline or their process died."""
