"""Whether Gemini has sessions with this pod: asked until it has had one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from voice_agent import gemini
from voice_agent.gemini import Ending
from voice_agent.settings import Settings

logger = logging.getLogger(__name__)

# Between questions to a Gemini that has had no session with this pod.
ASK_AGAIN_SECONDS = 10.0


class Acceptance:
    """Asks Gemini for a session, without a word of a conversation.

    Attributes:
        lacking: why there was no session yet, in words for people; None before it is known, and once there was one.
    """

    def __init__(self, settings: Settings) -> None:
        self.lacking: str | None = None
        self._settings = settings
        self._refused = False

    async def unless_refused(self) -> None:
        """Wait while Gemini refuses this pod; one that does not answer takes no refusal back, and is not waited for."""
        async with self._asking() as fails:
            while ending := await fails():
                self._note(ending)
                if not self._refused:
                    return
                await asyncio.sleep(ASK_AGAIN_SECONDS)
        self._accepted()

    async def until_accepted(self) -> None:
        """Wait until Gemini has had a session with this pod."""
        if self.lacking is None:
            return
        async with self._asking() as fails:
            while True:
                await asyncio.sleep(ASK_AGAIN_SECONDS)
                if (ending := await fails()) is None:
                    break
                self._note(ending)
        self._accepted()

    def _note(self, ending: Ending) -> None:
        words = ending.words or ending.reason
        if ending.refused:
            self._refused = True
            self.lacking = f"Gemini refuses this pod: {words}"
            logger.error(
                "%s. It takes no calls until it is accepted; check the key or the pod's identity, GEMINI_MODEL and "
                "GEMINI_VOICE",
                self.lacking,
            )
        elif not self._refused:
            self.lacking = f"Gemini does not answer this pod: {words}"
            logger.error(
                "%s. It takes no calls that another pod has or had; check GEMINI_BASE_URL, and that the network lets "
                "the pod reach it",
                self.lacking,
            )

    def _accepted(self) -> None:
        if self.lacking is not None:
            logger.info("Gemini accepts this pod")
        self.lacking, self._refused = None, False

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Callable[[], Awaitable[Ending | None]]]:
        settings = self._settings
        client, model = gemini.client(settings), gemini.realtime_model(settings).model
        try:
            yield lambda: gemini.fails(client, model, settings.gemini_voice)
        finally:
            await client.aio.aclose()
