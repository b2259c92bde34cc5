"""Whether this keeper reaches LiveKit: one that leads and does not leaves the lead to another that does."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from livekit import api

from voice_agent.keeper.ports import Lead
from voice_agent.keeper.recovery import API_ERRORS

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.5
"""After a look that failed."""
ANSWERS_WITHIN_SECONDS = 2.0
GIVE_WAY_SECONDS = 2.0
"""An agent that is cut off with its keeper lets go of its call after 5 s: by then another keeper shall lead."""
# Asked for by a name that no room has, the answer is short however many rooms there are.
_NO_ROOM = "-"


class Reach:
    """Asks LiveKit's API again and again while this keeper leads.

    Args:
        client: LiveKit's API.
        lead: given up when this keeper alone is cut off.
        another_reaches: whether another keeper says that LiveKit answers it.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        client: api.LiveKitAPI,
        lead: Lead,
        another_reaches: Callable[[], Awaitable[bool]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._lead = lead
        self._another_reaches = another_reaches
        self._clock = clock
        self._failing_since: float | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                # Whatever it is, the next look may see more.
                logger.exception("it cannot be told whether LiveKit is in reach")
            await asyncio.sleep(LOOK_SECONDS if self._failing_since is None else LOOK_AGAIN_SECONDS)

    async def look(self) -> None:
        """If this keeper leads, look once, and stand aside if LiveKit is out of reach for it and not for another."""
        asked_at = self._clock()
        if not self._lead.leading or await self.answers():
            self._failing_since = None
            return
        if self._failing_since is None:
            self._failing_since = asked_at
        if self._clock() - self._failing_since >= GIVE_WAY_SECONDS and await self._another_reaches():
            logger.warning("another keeper reaches LiveKit and shall lead")
            self._lead.stand_aside()

    async def answers(self) -> bool:
        """Whether LiveKit answers this keeper now."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
                await self._client.room.list_rooms(api.ListRoomsRequest(names=[_NO_ROOM]))
        except API_ERRORS as error:
            logger.warning("LiveKit is out of reach: %s", str(error) or type(error).__name__)
            return False
        return True
