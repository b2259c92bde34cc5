"""An agent whose tool returns once, and then never again."""

from __future__ import annotations

import asyncio
import logging

from livekit.agents import Agent, function_tool

logger = logging.getLogger(__name__)


class StuckTool(Agent):
    """Looks one thing up."""

    def __init__(self) -> None:
        super().__init__(instructions="Look things up.")
        self._looked_up = 0

    @function_tool
    async def look_up(self, topic: str) -> str:
        """Look a topic up.

        Args:
            topic: what to look up.
        """
        self._looked_up += 1
        if self._looked_up > 1:
            # By then a snapshot tells of it.
            await asyncio.sleep(0.5)
            logger.warning("stuck")
            await asyncio.Event().wait()
        return "42"
