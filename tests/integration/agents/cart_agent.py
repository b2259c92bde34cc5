"""An agent with state of its own: it counts what the caller has put into the cart."""

from __future__ import annotations

import logging

from livekit.agents import Agent
from pydantic import JsonValue

logger = logging.getLogger(__name__)


class Cart(Agent):
    """Keeps a cart over the pods that serve the call."""

    def __init__(self) -> None:
        super().__init__(instructions="Fill the cart.")
        self.items = ["welcome gift"]

    async def on_enter(self) -> None:
        """Runs once in a call."""
        logger.info("cart opened")
        self.items.append("apple")

    def save_state(self) -> JsonValue:
        """The cart."""
        return list(self.items)

    def restore_state(self, state: JsonValue) -> None:
        """Take up the cart."""
        self.items = [str(item) for item in state] if isinstance(state, list) else []
        logger.info("cart taken up: %s", self.items)
