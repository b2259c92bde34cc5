"""An agent that looks something up before it greets."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from livekit.agents import Agent

logger = logging.getLogger(__name__)


class Hesitant(Agent):
    """Greets when a file is there."""

    def __init__(self) -> None:
        super().__init__(instructions="Greet.")
        self.may_greet = Path(os.environ["GREETS_WHEN"])

    async def on_enter(self) -> None:
        """Wait for it."""
        logger.warning("about to greet")
        while not self.may_greet.exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.05)
        speech = self.session.generate_reply(instructions="Say hello.")
        await speech
        if not speech.interrupted and speech.exception() is None:
            logger.warning("greeted")
