"""Values out of what ``/metrics`` shows."""

from __future__ import annotations


def value(text: str, sample: str) -> float:
    """A sample's value, by its name with labels as ``text`` has it; 0 when it is not there."""
    values = [line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(values[0]) if values else 0.0
