"""One connection to the Live API, watched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from google.genai import Client, types
from google.genai.live import AsyncSession

from voice_agent.gemini.endpoint import CONNECT_TIMEOUT_SECONDS

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


@asynccontextmanager
async def connected(
    client: Client,
    model: str,
    config: types.LiveConnectConfig,
    observe: Callable[[types.LiveServerMessage], None] = lambda _: None,
) -> AsyncIterator[Connection]:
    """A connection that is set up; it is closed with the context.

    Args:
        client: with endpoint and credentials.
        model: the model's name.
        config: what the session is set up with.
        observe: see `Connection`.

    Raises:
        Exception: whatever google-genai, websockets or google-auth raise where none is set up.
        TimeoutError: CONNECT_TIMEOUT_SECONDS were over.
    """
    connecting = client.aio.live.connect(model=model, config=config)
    async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
        session = await connecting.__aenter__()
    connection = Connection(session, observe)
    try:
        yield connection
    finally:
        with suppress(Exception):
            await connection.close()
        with suppress(Exception):
            await connecting.__aexit__(None, None, None)
