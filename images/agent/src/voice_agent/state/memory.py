"""Calls in the keeper's own memory: nothing to install, gone with the process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from voice_agent.state.store import TTL_SECONDS, Kept, Snapshot


@dataclass
class _Entry:
    epoch: int = 0
    snapshot: Snapshot | None = None
    changed_at: float = 0.0


class MemoryStore:
    """A `Store` that lasts as long as its process.

    Args:
        ttl_seconds: how long a call is kept after its last change.
        clock: monotonic seconds.
    """

    def __init__(self, ttl_seconds: float = TTL_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl = ttl_seconds
        self._clock = clock
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently changed first
        self._ending: dict[str, float] = {}
        """When calls that have ended are to be forgotten."""

    async def put(self, call: str, snapshot: Snapshot) -> bool:
        """See `Store.put`."""
        entry = self._entry(call)
        if entry is not None and snapshot.stamp.epoch < entry.epoch:
            return False
        if entry is not None and entry.snapshot is not None and snapshot.stamp <= entry.snapshot.stamp:
            return False
        entry = self._changed(call)
        entry.epoch, entry.snapshot = snapshot.stamp.epoch, snapshot
        return True

    async def get(self, call: str) -> Kept | None:
        """See `Store.get`."""
        entry = self._entry(call)
        return Kept(entry.epoch, entry.snapshot) if entry else None

    async def claim(self, call: str, above: int = 0) -> int:
        """See `Store.claim`."""
        entry = self._changed(call)
        entry.epoch = max(entry.epoch, above) + 1
        return entry.epoch

    async def delete(self, call: str, epoch: int, after: float = 0.0) -> bool:
        """See `Store.delete`."""
        entry = self._entry(call)
        if entry is not None and entry.epoch > epoch:
            return False
        self._ending.pop(call, None)
        if after and entry is not None:
            self._ending[call] = self._clock() + after
        else:
            self._entries.pop(call, None)
        return True

    async def close(self) -> None:
        """See `Store.close`."""

    def _entry(self, call: str) -> _Entry | None:
        self._expire()
        return self._entries.get(call)

    def _changed(self, call: str) -> _Entry:
        self._expire()
        self._ending.pop(call, None)
        entry = self._entries.setdefault(call, _Entry())
        entry.changed_at = self._clock()
        self._entries.move_to_end(call)
        return entry

    def _expire(self) -> None:
        now = self._clock()
        while self._entries and next(iter(self._entries.values())).changed_at < now - self._ttl:
            self._entries.popitem(last=False)
        for ended in [call for call, at in self._ending.items() if at <= now]:
            del self._ending[ended]
            self._entries.pop(ended, None)
