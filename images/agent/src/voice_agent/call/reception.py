"""Whether anything comes from LiveKit: its client takes some 15 s to say that a network swallows everything."""

from __future__ import annotations

import asyncio
import logging
import math
import time

import aiohttp
from livekit import rtc
from livekit.agents.utils.aio import cancel_and_wait

from voice_agent.call.datagrams import Datagrams

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""A look costs some 2 ms of a processor: two a second made a call 6 % dearer than a plain worker's. Where no datagram
comes to the pod any more, it does not wait for its time."""
LOOK_AGAIN_SECONDS = 0.25
"""After a look that saw nothing new."""
LOOKS = 8
"""That see nothing new, before nothing comes: 2.25 s or more after something has. Where no track is published, the
server asks for a sign of life every 2 s (livekit-server 1.13.5, pkg/rtc/transport.go). Looks are counted, since a
process that has stood still has not heard what waits for it."""
ANSWERS_WITHIN_SECONDS = 0.75
"""If nothing new is seen, the server is asked; where it does not answer either, nothing comes: 1.5 s or more after
something has. A call in which no track is published may be let go of so, and is taken again with the next sign."""
ASK_AGAIN_SECONDS = 10.0
"""Where nothing is published, there is little to see, and looks alone decide."""
_COUNTED_WITHIN_SECONDS = 1.0


class Reception:
    """Looks at how much the room's connections have received.

    Args:
        room: of the call.
        url: LIVEKIT_URL.
    """

    def __init__(self, room: rtc.Room, url: str) -> None:
        self._room = room
        self._url = url.replace("ws", "http", 1)
        self._received: int | None = None
        self._asked_at = -math.inf
        self._datagrams = Datagrams()

    async def lost(self) -> None:
        """Return when nothing has come for `LOOKS` looks, or for some, while the server did not answer."""
        while True:
            await self._until_due()
            if await self._heard() is False and await self._stays_lost():
                return

    async def _until_due(self) -> None:
        due = time.monotonic() + LOOK_SECONDS
        while (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(LOOK_AGAIN_SECONDS, left))
            # One look tells what has come before they ceased, and the next that nothing has since.
            if self._datagrams.ceased(within=2 * LOOK_AGAIN_SECONDS):
                return

    async def _stays_lost(self) -> bool:
        """Look again until something has come, or it is believed that nothing does."""
        asking = asyncio.create_task(self._answers(), name="ask LiveKit")
        try:
            for _ in range(LOOKS - 1):
                # Before the look: a process that has stood still finds the time for an answer over.
                unanswered = asking.done() and not asking.result()
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
                if await self._heard() is not False:
                    return False
                if unanswered:
                    return True
        finally:
            await cancel_and_wait(asking)
        return True

    async def back(self) -> None:
        """Return when something has come."""
        while not await self._heard():  # noqa: ASYNC110 - only looking tells
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def _answers(self) -> bool:
        """Whether the server answers by HTTP, whatever it says; also if it was asked a while ago."""
        if time.monotonic() - self._asked_at < ASK_AGAIN_SECONDS:
            return True
        self._asked_at = time.monotonic()
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_SECONDS), aiohttp.ClientSession(trust_env=True) as session:
                while not await self._answer(session):  # noqa: ASYNC110 - only asking tells
                    await asyncio.sleep(LOOK_AGAIN_SECONDS)
        except TimeoutError:
            return False
        except Exception:
            # Looks alone can tell, too.
            logger.exception("LiveKit could not be asked whether it is there")
        return True

    async def _answer(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(self._url, allow_redirects=False):
                return True
        except (aiohttp.ClientError, OSError):
            return False

    async def _heard(self) -> bool | None:
        """Whether something has come since the last look; None if that cannot be known."""
        before, self._received = self._received, await self._look()
        if before is None or self._received is None:
            return None
        # It is less when the client has given a connection up.
        return self._received > before

    async def _look(self) -> int | None:
        """How many packets and signs of life have come in all; None if the room is not connected."""
        try:
            async with asyncio.timeout(_COUNTED_WITHIN_SECONDS):
                stats = await self._room.get_rtc_stats()
        except (RuntimeError, TimeoutError):
            return None
        every = (*stats.publisher_stats, *stats.subscriber_stats)
        pairs = [each.candidate_pair.candidate_pair for each in every if each.HasField("candidate_pair")]
        return sum(pair.packets_received + pair.requests_received + pair.responses_received for pair in pairs)
