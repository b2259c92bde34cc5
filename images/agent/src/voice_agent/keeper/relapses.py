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
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recovered: dict[str, _Recovered] = {}

    def pause(self, call: str) -> float:
        """How long to wait, in seconds, before an agent is sent to a call that was lost just now."""
        last = self._recovered.get(call)
        if last is None or self._clock() - last.at >= LASTS_SECONDS:
            self._recovered.pop(call, None)
            return 0.0
        if last.times < 2:
            return 0.0
        return min(_FIRST_PAUSE_SECONDS * 2.0 ** min(last.times - 2, 8), _LONGEST_PAUSE_SECONDS)

    def recovered(self, call: str) -> None:
        """An agent has come to the call."""
        now = self._clock()
        self._recovered = {name: each for name, each in self._recovered.items() if now - each.at < _FORGET_SECONDS}
        last = self._recovered.get(call)
        self._recovered[call] = _Recovered(now, last.times + 1 if last else 1)
