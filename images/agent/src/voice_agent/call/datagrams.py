"""Whether datagrams have just ceased to come to the pod: a sign that costs next to nothing, and all its calls share."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

# Of the network namespace that this process is in (proc_pid_net(5)), which is the pod's.
_COUNTERS = Path("/proc/self/net/snmp")
QUIET_SECONDS = 0.5
"""So long nothing comes in a call only by chance: a caller's client that sends no silence sends something every 0.4 s
(Opus, DTX)."""


def udp_received() -> int | None:
    """UDP datagrams that have come to this network namespace over IPv4; None where the kernel does not tell.

    With media over TCP or IPv6 it tells nothing of the calls: a stray datagram, as an answer of DNS, costs two looks.
    """
    try:
        names, figures = (line.split() for line in _COUNTERS.read_text().splitlines() if line.startswith("Udp: "))
        return int(figures[names.index("InDatagrams")])
    except (OSError, ValueError):
        return None


class Datagrams:
    """Looks at how many have come.

    Args:
        clock: monotonic seconds.
        received: how many have come in all; None where that is not known.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, received: Callable[[], int | None] = udp_received
    ) -> None:
        self._clock = clock
        self._received = received
        self._count: int | None = None
        self._came_at = -math.inf

    def ceased(self, within: float) -> bool:
        """Whether none has come for `QUIET_SECONDS`, since one came or the first look; and not much longer.

        Args:
            within: seconds more for which this is told.
        """
        now, before, self._count = self._clock(), self._count, self._received()
        if self._count != before:
            self._came_at = now
            return False
        return QUIET_SECONDS <= now - self._came_at < QUIET_SECONDS + within
