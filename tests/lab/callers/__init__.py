"""Callers: LiveKit clients that hold measured conversations with agents, each in a process of its own."""

from __future__ import annotations

from lab.callers.fleet import CallFleet
from lab.callers.measure import measure
from lab.callers.plan import CallPlan
from lab.callers.results import CallReport, Latency, StarvedError, Summary, Turn, assert_ok

__all__ = ["CallFleet", "CallPlan", "CallReport", "Latency", "StarvedError", "Summary", "Turn", "assert_ok", "measure"]
