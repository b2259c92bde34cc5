"""An agent that does not leave when it is asked to."""

from __future__ import annotations

import asyncio

from livekit.agents import Agent


class Hanging(Agent):
    """Says goodbye for ever."""

    def __init__(self) -> None:
        super().__init__(instructions="Stay.")

    async def on_exit(self) -> None:
        """Never returns."""
        print("hanging", flush=True)
        await asyncio.Event().wait()
