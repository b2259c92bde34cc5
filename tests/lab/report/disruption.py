"""What was done to the agents while calls were live."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Disruption:
    """Something done on purpose from ``start`` to ``end`` (wall-clock seconds)."""

    label: str
    start: float
    end: float
