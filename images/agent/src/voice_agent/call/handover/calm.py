"""Whether this process gets a processor when it wants one: a call that moves to one that doesn't is answered late.

A pod that goes is replaced, and a container's start takes the node's processors for seconds, at the very moment at
which the calls of the old pod come to others. Where the old agent has the time to serve on, the new one waits.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

# https://docs.kernel.org/scheduler/sched-stats.html
_SCHEDSTAT = Path("/proc/thread-self/schedstat")

WINDOW_SECONDS = 1.0
_POLL_SECONDS = 0.25
# A thread waits about as long as it runs where calls fill six tenths of two cores, and several times as long while a
# pod starts beside them.
STARVED_RATIO = 2.5
# A thread that hardly runs says little by its waits.
_LEAST_RUN_NS = 20_000_000

# The start of a pod on two cores is over by then.
PATIENCE_SECONDS = 10.0
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
    """Looks at how the thread that made it is served."""

    def __init__(self) -> None:
        self._looks = deque([(time.monotonic(), scheduled())])

    def starved(self) -> bool | None:
        """Whether this thread has had to wait too long for a processor; None where that is not known (yet).

        It is the last second that counts, or the time since the last look if that is longer.
        """
        now, latest = time.monotonic(), scheduled()
        while len(self._looks) > 1 and self._looks[1][0] <= now - WINDOW_SECONDS:
            self._looks.popleft()
        at, before = self._looks[0]
        self._looks.append((now, latest))
        if before is None or latest is None or at > now - WINDOW_SECONDS:
            return None
        return latest.waited - before.waited > STARVED_RATIO * max(latest.ran - before.ran, _LEAST_RUN_NS)


def patience(left: float) -> float:
    """How long a processor may be waited for, in seconds, when a call must have moved in `left` seconds."""
    return min(max((left - HURRY_SECONDS) / 3, 0.0), PATIENCE_SECONDS)


async def until(seconds: float) -> None:
    """Wait until this thread has had a processor when it wanted one for a second, but no longer than `seconds`.

    Where the kernel does not tell, nothing is waited for.
    """
    began, watch = time.monotonic(), Watch()
    if scheduled() is not None:
        while time.monotonic() - began < seconds and watch.starved() is not False:  # noqa: ASYNC110 - a look is all there is
            await asyncio.sleep(_POLL_SECONDS)
