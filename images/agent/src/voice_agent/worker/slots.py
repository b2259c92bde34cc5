"""Call slots: how many calls the pod takes, and the load it reports for them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

# livekit-server sends no call to a worker at or above this load (`agents.target_load`, v1.13.5), and sends none
# at all when every worker is there; so a pod with a free slot must stay below.
FULL_THRESHOLD = 0.7
# What the last but one slot may report: the margin keeps rounding on the wire below the threshold.
ALMOST_FULL = 0.69


class NoFreeSlotError(Exception):
    """Every slot has a call, or is promised to one."""


class Slots:
    """Counts calls from the moment the pod promises to take one.

    A call is first promised (LiveKit then assigns it, and a process takes it over) and then running; it counts
    once in the time in which it is both. It counts once, too, where two agents were sent to it, one of which will
    leave: the successor that a dead agent had called, and the keepers' own.

    Args:
        total: how many there are.
        running: tells the calls that run, each by any name that is its own.
    """

    def __init__(self, total: int, running: Callable[[], Collection[str]]) -> None:
        self.total = total
        self._running = running
        # Replaced, never changed: the load is also read in another thread.
        self._promised: tuple[str, ...] = ()

    @property
    def taken(self) -> int:
        """Slots with a call, or promised to one."""
        return len(self._calls)

    @property
    def load(self) -> float:
        """The load to report: in proportion below the threshold while a slot is free, 1 when full."""
        taken = self.taken
        return 1.0 if taken >= self.total else ALMOST_FULL * taken / self.total

    @contextmanager
    def promise(self, call: str) -> Iterator[None]:
        """Hold a slot for `call` until it runs, or until it turns out that it will not.

        Raises:
            NoFreeSlotError: there is none. Nothing is awaited between the look and the promise, so no two
                calls get the same slot.
        """
        calls = self._calls
        if call not in calls and len(calls) >= self.total:
            raise NoFreeSlotError
        self._promised = (*self._promised, call)
        try:
            yield
        finally:
            left = [*self._promised]
            left.remove(call)
            self._promised = (*left,)

    @property
    def _calls(self) -> frozenset[str]:
        return frozenset((*self._promised, *self._running()))
