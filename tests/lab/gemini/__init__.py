"""Gemini Live, simulated on its wire protocol: see README.md for what it has and what it has not."""

from lab.gemini.config import Behaviour, Fault
from lab.gemini.server import Simulator, simulator

__all__ = ["Behaviour", "Fault", "Simulator", "simulator"]
