"""An agent whose tool takes its time."""

from __future__ import annotations

import asyncio

from livekit.agents import Agent, function_tool

# Long enough for a connection to end under it.
TOOL_SECONDS = 0.8


class SlowTool(Agent):
    """Looks things up, slowly."""

    def __init__(self) -> None:
        super().__init__(instructions="Look things up.")

    @function_tool
    async def look_up(self, topic: str) -> str:
        """Look a topic up.

        Args:
            topic: what to look up.
        """
        print(f"looking up {topic}", flush=True)
        await asyncio.sleep(TOOL_SECONDS)
        return "42"
