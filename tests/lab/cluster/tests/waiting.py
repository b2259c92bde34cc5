"""Waiting for what the cluster does in its own time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


def until(what: str, condition: Callable[[], bool], seconds: float = 180) -> None:
    """Wait until a condition holds, or fail the test saying what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)


def until_equal(what: str, expected: str, question: Callable[[], str], seconds: float = 180) -> None:
    """Ask until the answer is the expected one, or fail the test with the last answer."""
    deadline = time.monotonic() + seconds
    while (got := question()) != expected:
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {what}; the last answer was {got!r}")
        time.sleep(0.5)
