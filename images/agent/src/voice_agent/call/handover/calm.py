"""Whether this process gets a processor when it wants one: a call that moves to one that doesn't is answered late.

A pod that goes is replaced, and a container's start takes the node's processors for seconds, at the very moment at
which the calls of the old pod come to others. While the old agent has the time, it serves on until both are served.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from livekit.agents.utils.aio import cancel_and_wait

# https://docs.kernel.org/scheduler/sched-stats.html
_SCHEDSTAT = Path("/proc/thread-self/schedstat")

WINDOW_SECONDS = 1.0
POLL_SECONDS = 0.25
# A thread waits about as long as it runs where calls fill six tenths of two cores, and several times as long while a
# pod starts beside them.
STARVED_RATIO = 2.5
# A thread that hardly runs says little by its waits.
_LEAST_RUN_NS = 20_000_000

# The start of a pod on two cores takes half of it, and where one rollout follows another, several start in turn.
PATIENCE_SECONDS = 20.0
# With less time than this a handover may need all of it.
HURRY_SECONDS = 15.0


class Scheduled(NamedTuple):
    """What a thread got of the processors since it began, in nanoseconds."""

    ran: int
    waited: int


def scheduled() -> Scheduled | None:
    """Of the thread that asks; None where the kernel does not tell (gVisor, say)."""
    try:
        ran, waited, _ = _SCHEDSTAT.read_text().split()
    except (OSError, ValueError):
        return None
    return Scheduled(int(ran), int(waited))


class Watch:
    """Looks at how the thread that asks is served.

    Args:
        clock: monotonic seconds.

    Attributes:
        starved: whether it waits too long for a processor, by the last second; until that is known it counts as such,
            and never where the kernel does not tell.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, Scheduled | None]]
        self._begin()

    def look(self) -> None:
        """Look now; to be done several times a second."""
        now, latest = self._clock(), scheduled()
        while len(self._looks) > 1 and self._looks[1][0] <= now - WINDOW_SECONDS:
            self._looks.popleft()
        at, before = self._looks[0]
        self._looks.append((now, latest))
        if before is not None and latest is not None and at <= now - WINDOW_SECONDS:
            ran = max(latest.ran - before.ran, _LEAST_RUN_NS)
            self.starved = latest.waited - before.waited > STARVED_RATIO * ran

    def _begin(self) -> None:
        first = scheduled()
        self.starved = first is not None
        self._looks = deque([(self._clock(), first)])

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look for as long as the context lasts; of what was before, nothing counts."""
        self._begin()

        async def look() -> None:
            while True:
                self.look()
                await asyncio.sleep(POLL_SECONDS)

        task = asyncio.create_task(look())
        try:
            yield
        finally:
            await cancel_and_wait(task)


def patience(left: float) -> float:
    """How long a processor may be waited for, in seconds, when a call must have moved in `left` seconds."""
    most = min((left - HURRY_SECONDS) / 3, PATIENCE_SECONDS)
    # In less nothing can be known of the successor's.
    return most if most > WINDOW_SECONDS else 0.0
