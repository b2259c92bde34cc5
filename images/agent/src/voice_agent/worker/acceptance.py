"""Whether Gemini has sessions with this pod: asked until it has had one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

from voice_agent import gemini
from voice_agent.gemini import Ending
from voice_agent.settings import Settings
from voice_agent.telemetry import metrics

logger = logging.getLogger(__name__)

# Between questions to a Gemini that has had no session with this pod: soon at first, for whom a hiccup kept from it.
ASK_AGAIN_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 1.0


class Acceptance:
    """Asks Gemini for a session, without a word of a conversation.

    Attributes:
        lacking: why there was no session yet, in words for people; None before it is known, and once there was one.
        refused: whether Gemini has refused this pod, and not accepted it since.
    """

    def __init__(self, settings: Settings) -> None:
        self.lacking: str | None = None
        self.refused = False
        self._settings = settings
        self._pauses = _pauses()

    async def unless_refused(self) -> None:
        """Wait while Gemini refuses this pod; one that does not answer takes no refusal back, and is not waited for."""
        await self._ask(lambda: not self.refused)

    async def until_accepted(self) -> None:
        """Wait until Gemini has had a session with this pod."""
        if self.lacking is not None:
            await asyncio.sleep(next(self._pauses))
            await self._ask(lambda: False)

    async def _ask(self, enough: Callable[[], bool]) -> None:
        """Ask until there is a session, or what the last ending tells is `enough`."""
        async with self._asking() as fails:
            while ending := await fails():
                self._note(ending)
                if enough():
                    return
                await asyncio.sleep(next(self._pauses))
        self._accepted()

    def _note(self, ending: Ending) -> None:
        metrics.GEMINI_MISSING.set(1)
        words = ending.words or ending.reason
        if ending.refused:
            self.refused = True
            self.lacking = f"Gemini refuses this pod: {words}"
            logger.error(
                "%s. It takes no calls until it is accepted; check the key or the pod's identity, GEMINI_MODEL and "
                "GEMINI_VOICE",
                self.lacking,
            )
        elif not self.refused:
            self.lacking = f"Gemini does not answer this pod: {words}"
            logger.error(
                "%s. It takes no calls that another pod has or had; check GEMINI_BASE_URL, that the network lets the "
                "pod reach it, and the quota of sessions",
                self.lacking,
            )

    def _accepted(self) -> None:
        if self.lacking is not None:
            logger.info("Gemini accepts this pod")
        self.lacking, self.refused = None, False
        metrics.GEMINI_MISSING.set(0)

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[Callable[[], Awaitable[Ending | None]]]:
        settings = self._settings
        client, model = gemini.client(settings), gemini.realtime_model(settings).model
        try:
            yield lambda: gemini.fails(client, model, settings.gemini_voice)
        finally:
            await client.aio.aclose()


def _pauses() -> Iterator[float]:
    """Seconds between one question and the next, for ever."""
    pause = _FIRST_PAUSE_SECONDS
    while True:
        yield min(pause, ASK_AGAIN_SECONDS)
        pause = min(2 * pause, ASK_AGAIN_SECONDS)
