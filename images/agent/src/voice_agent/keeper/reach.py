"""Whether this keeper reaches LiveKit: one that leads and does not leaves the lead to another that does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from livekit import api

from voice_agent.call.people import API_ERRORS
from voice_agent.keeper.ports import Lead

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
LOOK_AGAIN_SECONDS = 0.5
"""After a look that failed."""
ANSWERS_WITHIN_SECONDS = 1.0
FAILURES = 3
"""In a row, before the lead is given up. An agent that is cut off with its keeper lets go of its call after 2 to 5 s,
and another keeper leads not long after that."""
# Asked for by a name that no room has, the answer is short however many rooms there are.
_NO_ROOM = "-"


class Reach:
    """Asks LiveKit's API again and again while this keeper leads.

    Args:
        client: LiveKit's API, and connections that nothing else waits for.
        lead: given up when this keeper alone is cut off.
        another_reaches: whether another keeper says that LiveKit answers it.
    """

    def __init__(self, client: api.LiveKitAPI, lead: Lead, another_reaches: Callable[[], Awaitable[bool]]) -> None:
        self._client = client
        self._lead = lead
        self._another_reaches = another_reaches
        self._failures = 0

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                # Whatever it is, the next look may see more.
                logger.exception("it cannot be told whether LiveKit is in reach")
            await asyncio.sleep(LOOK_AGAIN_SECONDS if self._failures else LOOK_SECONDS)

    async def look(self) -> None:
        """If this keeper leads, look once, and stand aside if LiveKit is out of reach for it and not for another."""
        if not self._lead.leading or (error := await unreachable(self._client)) is None:
            self._failures = 0
            return
        self._failures += 1
        if self._failures == 1:
            logger.warning("LiveKit is out of reach: %s", str(error) or type(error).__name__)
        if self._failures < FAILURES or not await self._another_reaches():
            return
        if await self.answers():  # it has come back for everybody meanwhile
            self._failures = 0
        elif self._lead.stand_aside():
            logger.warning("another keeper reaches LiveKit and shall lead")

    async def answers(self) -> bool:
        """Whether LiveKit answers this keeper now."""
        return await unreachable(self._client) is None


async def unreachable(client: api.LiveKitAPI) -> Exception | None:
    """Why LiveKit does not answer now; None if it does."""
    try:
        async with asyncio.timeout(ANSWERS_WITHIN_SECONDS):
            await client.room.list_rooms(api.ListRoomsRequest(names=[_NO_ROOM]))
    except API_ERRORS as error:
        return error
    return None
