"""A shared store, and this keeper's own memory for when that is away: no recovery waits for a store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from voice_agent.state.store import Kept, Snapshot, Store, StoreError

logger = logging.getLogger(__name__)

# A caller waits meanwhile. In the cluster's network an answer takes milliseconds.
PATIENCE_SECONDS = 0.5
# So long nobody waits for a store that has just not answered.
AWAY_SECONDS = 2.0

T = TypeVar("T")


class LayeredStore:
    """A `Store` of two: `shared` counts; `own` has what came by here, and answers for it while it is away.

    While it is away two keepers may claim the same epoch; in the room one of two such agents leaves, by its identity.

    Args:
        own: in this process.
        shared: between keepers.
        clock: monotonic seconds.
    """

    def __init__(self, own: Store, shared: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = own
        self._shared = shared
        self._clock = clock
        self._away_until = 0.0
        self._away = False
        # By call, and only while it is claimed: calls that are lost at once do not wait for each other.
        self._claiming: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, call: str, snapshot: Snapshot) -> bool:
        """See `Store.put`."""
        kept = await self._own.put(call, snapshot)
        shared = await self._ask(lambda: self._shared.put(call, snapshot))
        return kept and shared is not False

    async def get(self, call: str) -> Kept | None:
        """See `Store.get`."""
        answers = [await self._own.get(call), await self._ask(lambda: self._shared.get(call))]
        known = [answer for answer in answers if answer is not None]
        if not known:
            return None
        snapshots = [answer.snapshot for answer in known if answer.snapshot is not None]
        return Kept(
            max(answer.epoch for answer in known),
            max(snapshots, key=lambda snapshot: snapshot.stamp, default=None),
        )

    async def claim(self, call: str, above: int = 0) -> int:
        """See `Store.claim`."""
        claiming = self._claiming.setdefault(call, asyncio.Lock())
        async with claiming:  # else the own store might be ahead of what the shared one gives
            mine = await self._own.get(call)
            above = max(above, mine.epoch if mine else 0)
            shared = await self._ask(lambda: self._shared.claim(call, above))
            return await self._own.claim(call, above if shared is None else shared - 1)

    async def delete(self, call: str, epoch: int, after: float = 0.0) -> bool:
        """See `Store.delete`."""
        mine = await self._own.delete(call, epoch, after)
        shared = await self._ask(lambda: self._shared.delete(call, epoch, after))
        return mine if shared is None else shared

    async def close(self) -> None:
        """See `Store.close`."""
        await self._own.close()
        await self._shared.close()

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """What the shared store answers; None while it is away."""
        if self._clock() < self._away_until:
            return None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await question()
        except (StoreError, TimeoutError) as error:
            self._away_until = self._clock() + AWAY_SECONDS
            if not self._away:
                reason = str(error) or f"no answer in {PATIENCE_SECONDS} s"
                logger.warning("the store is away, this keeper's memory stands in for it: %s", reason)
            self._away = True
            return None
        if self._away:
            self._away = False
            logger.info("the store is back")
        return answer
