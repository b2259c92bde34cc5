"""Whether this process gets a processor when it wants one: a call that moves to one that doesn't is answered late.

A pod that goes is replaced, and a container's start takes the node's processors for seconds, at the very moment at
which the calls of the old pod come to others. Where the old agent has the time to serve on, the new one waits.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import NamedTuple

# https://docs.kernel.org/scheduler/sched-stats.html
_SCHEDSTAT = Path("/proc/thread-self/schedstat")

WINDOW_SECONDS = 0.5
WINDOWS = 2
# A thread waits about as long as it runs where calls fill six tenths of two cores, and several times as long while a
# pod starts beside them.
STARVED_RATIO = 2.5
# A thread that hardly runs says little by its waits.
_LEAST_RUN_NS = 10_000_000


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


async def until(seconds: float) -> float:
    """Wait until this thread has had a processor whenever it wanted one for a second, or for `seconds` at the most.

    Returns:
        How long that took, in seconds; 0 where the kernel does not tell.
    """
    began = time.monotonic()
    calm = 0
    before = scheduled()
    while before is not None and calm < WINDOWS and time.monotonic() - began < seconds:
        await asyncio.sleep(WINDOW_SECONDS)
        if (now := scheduled()) is None:
            break
        calm = 0 if _starved(before, now) else calm + 1
        before = now
    return time.monotonic() - began


def _starved(before: Scheduled, now: Scheduled) -> bool:
    return now.waited - before.waited > STARVED_RATIO * max(now.ran - before.ran, _LEAST_RUN_NS)
