"""Calls that lose every agent that is sent, as where Gemini refuses the keys of all pods."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

# An agent that stayed for longer was not lost for what ended the one before.
LASTS_SECONDS = 10.0
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
# No recovery takes so long, with its pause.
_FORGET_SECONDS = 300.0


@dataclass(frozen=True)
class _Recovered:
    at: float
    times: int


class Relapses:
    """Has such a call wait for its next agent, each time for longer: two deaths in a row may be chance, three are not.

    Args:
        clock: monotonic seconds, as those at which calls are lost.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recovered: dict[str, _Recovered] = {}

    def due(self, call: str, lost_at: float) -> bool:
        """Whether an agent is to be sent by now to a call that was lost at that time."""
        times = self._times(call, lost_at)
        pause = _FIRST_PAUSE_SECONDS * 2.0 ** min(times - 2, 8) if times > 1 else 0.0
        return self._clock() - lost_at >= min(pause, _LONGEST_PAUSE_SECONDS)

    def recovered(self, call: str, lost_at: float) -> None:
        """An agent has come to the call that was lost at that time."""
        now = self._clock()
        times = self._times(call, lost_at) + 1
        self._recovered = {name: each for name, each in self._recovered.items() if now - each.at < _FORGET_SECONDS}
        self._recovered[call] = _Recovered(now, times)

    def _times(self, call: str, lost_at: float) -> int:
        """How many agents in a row have come to the call and not stayed."""
        last = self._recovered.get(call)
        return last.times if last and lost_at - last.at < LASTS_SECONDS else 0
