"""Whether anything comes from LiveKit: its client takes some 15 s to say that a network swallows everything."""

from __future__ import annotations

import asyncio

from livekit import rtc

LOOK_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.25
"""After a look that saw nothing new."""
LOOKS = 8
"""That see nothing new, before nothing comes: 2.75 s. Where nobody speaks, the server asks for a sign of life every 2 s
(livekit-server 1.13.5, pkg/rtc/transport.go) on each connection, and libwebrtc does so every 2.5 s. Looks are counted,
since a process that has stood still has not heard what waits for it."""
_ANSWER_SECONDS = 1.0


class Reception:
    """Looks at how much the room's connections have received.

    Args:
        room: of the call.
    """

    def __init__(self, room: rtc.Room) -> None:
        self._room = room
        self._received: int | None = None

    async def lost(self) -> None:
        """Return when nothing has come for `LOOKS` looks."""
        looks = 0
        while looks < LOOKS:
            await asyncio.sleep(LOOK_AGAIN_SECONDS if looks else LOOK_SECONDS)
            looks = looks + 1 if await self._heard() is False else 0

    async def back(self) -> None:
        """Return when something has come."""
        while not await self._heard():  # noqa: ASYNC110 - only looking tells
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

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
            async with asyncio.timeout(_ANSWER_SECONDS):
                stats = await self._room.get_rtc_stats()
        except (RuntimeError, TimeoutError):
            return None
        every = (*stats.publisher_stats, *stats.subscriber_stats)
        pairs = [each.candidate_pair.candidate_pair for each in every if each.HasField("candidate_pair")]
        return sum(pair.packets_received + pair.requests_received + pair.responses_received for pair in pairs)
