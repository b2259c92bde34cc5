"""One connection to the Live API, watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from google.genai import types
from google.genai.live import AsyncSession

# A close frame is answered within a round trip, or never.
_CLOSE_SECONDS = 1.0


class Connection:
    """google-genai's session as LiveKit's plugin uses it; shows every server message to `observe` first.

    Attributes:
        handling: whether the plugin is at work on a message, rather than waiting for one.
    """

    def __init__(self, session: AsyncSession, observe: Callable[[types.LiveServerMessage], None]) -> None:
        self.handling = False
        self._session = session
        self._observe = observe

    async def receive(self) -> AsyncIterator[types.LiveServerMessage]:
        """The server's messages up to the end of a turn.

        Raises:
            APIError: the connection ended.
        """
        async for message in self._session.receive():
            self._observe(message)
            self.handling = True
            yield message
            self.handling = False

    async def send_client_content(self, **content: Any) -> None:
        """As google-genai's."""
        await self._session.send_client_content(**content)

    async def send_realtime_input(self, **realtime: Any) -> None:
        """As google-genai's."""
        await self._session.send_realtime_input(**realtime)

    async def send_tool_response(self, **response: Any) -> None:
        """As google-genai's."""
        await self._session.send_tool_response(**response)

    async def close(self) -> None:
        """Close it, and return when the service has: only then may another connection use its handle.

        A service that does not answer is left without a word, after a second.
        """
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._session.close()
        except TimeoutError:
            self._session._ws.transport.abort()
