"""An agent that tells how it began."""

from __future__ import annotations

import logging

from livekit.agents import Agent, get_job_context

logger = logging.getLogger(__name__)


class Greeting(Agent):
    """Logs what its job was told."""

    def __init__(self) -> None:
        super().__init__(instructions="Be brief.")

    async def on_enter(self) -> None:
        """Once in a call."""
        logger.warning("entered, told %r", get_job_context().job.metadata)
