"""Notices when this process gets no processor: what it measures then is the machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

_WATCH_SECONDS = 0.25


async def stalls(longer_than_s: float) -> AsyncIterator[tuple[float, float]]:
    """Every stall of the event loop: when it should have gone on, and when it did, as wall-clock seconds."""
    while True:
        due = time.time() + _WATCH_SECONDS
        await asyncio.sleep(_WATCH_SECONDS)
        now = time.time()
        if now - due > longer_than_s:
            yield due, now
