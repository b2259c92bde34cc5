"""An agent whose state is the death of every process that restores it."""

from __future__ import annotations

import os
import signal

from livekit.agents import Agent
from pydantic import JsonValue


class Fatal(Agent):
    """It keeps something, and does not survive to see it again."""

    def __init__(self) -> None:
        super().__init__(instructions="Answer.")

    def save_state(self) -> JsonValue:
        """Something."""
        return "too much"

    def restore_state(self, state: JsonValue) -> None:
        """Die as where memory runs out, unless there is nothing to restore."""
        if state is not None:
            os.kill(os.getpid(), signal.SIGKILL)
