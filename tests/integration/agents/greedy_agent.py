"""An agent that leaks memory in one of two calls."""

from __future__ import annotations

from livekit.agents import Agent, get_job_context


class Greedy(Agent):
    """Takes 400 MiB in a room whose name ends with 1."""

    def __init__(self) -> None:
        super().__init__(instructions="Take it all.")
        self.taken = b""

    async def on_enter(self) -> None:
        """Leak."""
        if get_job_context().room.name.endswith("1"):
            self.taken = bytes(range(256)) * (400 * 1024 * 4)
