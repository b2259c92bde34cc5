"""Waiting for what the cluster does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

_LOOK_SECONDS = 0.2


def until(done: Callable[[], object], seconds: float, complaint: str) -> None:
    """Ask until the answer is true.

    Raises:
        TimeoutError: it was not within so many seconds; with the complaint as its message.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(_LOOK_SECONDS)
