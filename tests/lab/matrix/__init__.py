"""The disruption matrix: every way to disturb a fleet, tried under live calls, and what its callers heard."""

from __future__ import annotations

from lab.matrix.outcome import Outcome
from lab.matrix.rows import MATRIX, Promise, Row
from lab.matrix.trial import Trial, run

__all__ = ["MATRIX", "Outcome", "Promise", "Row", "Trial", "run"]
