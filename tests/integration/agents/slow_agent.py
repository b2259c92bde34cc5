"""An agent that is not ready to go on with a call within an hour."""

from __future__ import annotations

import time

from livekit.agents import Agent
from pydantic import JsonValue


class Slow(Agent):
    """Keeps its process busy while it takes up its state."""

    def __init__(self) -> None:
        super().__init__(instructions="Take your time.")

    def save_state(self) -> JsonValue:
        """Something to take up."""
        return "state"

    def restore_state(self, state: JsonValue) -> None:
        """Nothing else happens in the process meanwhile."""
        time.sleep(3600)
