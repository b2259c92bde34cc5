"""Status lines."""

from __future__ import annotations


def say(text: str) -> None:
    """Print one line at once, so that nobody wonders whether anything happens."""
    print(f"images: {text}", flush=True)
