"""Call slots: how many calls the pod takes, and the load it reports for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

# livekit-server sends no call to a worker at or above this load (`agents.target_load`, v1.13.5), and sends none
# at all when every worker is there; so a pod with a free slot must stay below.
FULL_THRESHOLD = 0.7
# What the last but one slot may report: the margin keeps rounding on the wire below the threshold.
ALMOST_FULL = 0.69

# More of one call would only take the processors from the one that it waits for.
AGENTS_A_CALL = 2


class NoFreeSlotError(Exception):
    """Every slot has a call, or is promised to one."""


class Slots:
    """Counts calls from the moment the pod promises to take one.

    A call is first promised (LiveKit then assigns it, and a process takes it over) and then running; it counts
    once in the time in which it is both. It counts once, too, where two agents were sent to it, one of which leaves:
    the successor that a dead agent had called and the keepers' own, or one that stands still and the one after it.

    Args:
        total: how many there are.
        running: tells the jobs that run: by ID, a name of the call that each is sent to.
    """

    def __init__(self, total: int, running: Callable[[], Mapping[str, str]]) -> None:
        self.total = total
        self._running = running
        # Replaced, never changed: the load is also read in another thread.
        self._promised: Mapping[str, str] = {}

    @property
    def taken(self) -> int:
        """Slots with a call, or promised to one."""
        return len(set(self._jobs.values()))

    @property
    def load(self) -> float:
        """The load to report: in proportion below the threshold while a slot is free, 1 when full."""
        taken = self.taken
        return 1.0 if taken >= self.total else ALMOST_FULL * taken / self.total

    @contextmanager
    def promise(self, job: str, call: str) -> Iterator[None]:
        """Hold a slot for `job` until it runs, or until it turns out that it will not.

        Args:
            job: its ID.
            call: that it is sent to.

        Raises:
            NoFreeSlotError: there is none, or two agents are there or on their way to that call. Nothing is awaited
                between the look and the promise, so no two calls get the same slot.
        """
        agents = Counter(self._jobs.values())
        if agents[call] >= AGENTS_A_CALL or (call not in agents and len(agents) >= self.total):
            raise NoFreeSlotError
        self._promised = {**self._promised, job: call}
        try:
            yield
        finally:
            self._promised = {each: call for each, call in self._promised.items() if each != job}

    @property
    def _jobs(self) -> Mapping[str, str]:
        return {**self._promised, **self._running()}
