"""Gemini Live, simulated on its wire protocol: see README.md for what it has and what it has not."""

from lab.gemini.config import Behaviour
from lab.gemini.faults import Fault
from lab.gemini.server import Simulator, simulator
from lab.gemini.turns import Turn

__all__ = ["Behaviour", "Fault", "Simulator", "Turn", "simulator"]
