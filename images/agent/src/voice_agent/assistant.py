"""The agent that answers when AGENT_CLASS names no other; an example of one with a function tool."""

from __future__ import annotations

from datetime import UTC, datetime

from livekit.agents import Agent, function_tool


class Assistant(Agent):
    """A general voice assistant that can tell the time."""

    def __init__(self) -> None:
        super().__init__(
            instructions=(
                "You are a friendly voice assistant on a phone call. Answer in one or two short sentences, "
                "without lists or formatting. If you are not sure, say so."
            )
        )

    async def on_enter(self) -> None:
        """Greet the caller, so that they know that they are heard."""
        self.session.generate_reply(instructions="Greet the caller and ask how you can help.")

    @function_tool
    async def current_time(self) -> str:
        """Tell the current date and time in UTC."""
        return datetime.now(UTC).strftime("%A %d %B %Y, %H:%M UTC")
