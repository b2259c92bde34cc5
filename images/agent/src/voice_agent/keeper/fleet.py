"""The calls that this keeper knows: who serves them, and which are out of sight."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from voice_agent.tether.wire import Ending, Loss, Tethered

# Nobody took it up in this time, and its caller has long hung up.
_FORGET_SECONDS = 300.0
# Longer than a caller stays where the agent has ended the call.
_OVER_SECONDS = 3600.0


@dataclass(frozen=True)
class Known:
    """A call as it was last told of.

    Attributes:
        call: the agent that has it, or had it when it was lost.
        state: what it said it does; for people.
        loss: how it went out of sight; None while it is seen.
        lost_at: when, on the clock.
    """

    call: Tethered
    state: dict[str, JsonValue] = field(default_factory=dict)
    loss: Loss | None = None
    lost_at: float = 0.0


class Fleet:
    """Follows the tethers; of several agents of a call that with the highest epoch counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._over: dict[str, float] = {}

    @property
    def calls(self) -> list[Known]:
        """All that are known, those out of sight included."""
        return list(self._known.values())

    @property
    def lost(self) -> list[Known]:
        """Those out of sight, the longest first."""
        self._forget()
        return sorted((known for known in self._known.values() if known.loss), key=lambda known: known.lost_at)

    def lost_for(self, known: Known) -> float:
        """Seconds since it went out of sight; 0 while it is seen."""
        return self._clock() - known.lost_at if known.loss else 0.0

    def get(self, call: str) -> Known | None:
        """What is known of a call."""
        return self._known.get(call)

    def seen(self, call: Tethered) -> None:
        """`call` is tethered."""
        known = self._known.get(call.call)
        if known is None or call.epoch >= known.call.epoch:
            self._known[call.call] = Known(call, known.state if known else {})

    def said(self, call: Tethered, state: dict[str, JsonValue]) -> None:
        """`call` tells what it does."""
        known = self._known.get(call.call)
        if known and known.call == call:
            self._known[call.call] = replace(known, state=state)

    def missed(self, call: Tethered, loss: Loss) -> None:
        """`call` is out of sight."""
        known = self._known.get(call.call)
        if known is None or call.epoch >= known.call.epoch:
            at = known.lost_at if known and known.call == call and known.loss else self._clock()
            self._known[call.call] = Known(call, known.state if known else {}, loss, at)

    def ended(self, call: Tethered, ending: Ending) -> None:
        """The agent of `call` has said goodbye."""
        known = self._known.get(call.call)
        over = ending in {Ending.CALLER_LEFT, Ending.FINISHED}
        if over:
            self._remember(call.dispatch_id)
        # Of a call that moved, the successor may not be tethered here yet; it will be.
        if known and (call.epoch == known.call.epoch or (over and call.epoch > known.call.epoch)):
            del self._known[call.call]

    def is_over(self, dispatch: str) -> bool:
        """Whether the call of a dispatch has ended as its agent or its caller wished."""
        return dispatch in self._over

    def drop(self, calls: Iterable[str]) -> None:
        """Forget calls: their callers are gone, or nobody takes them up."""
        for call in calls:
            self._known.pop(call, None)

    def _remember(self, dispatch: str) -> None:
        now = self._clock()
        self._over[dispatch] = now
        while self._over[oldest := next(iter(self._over))] < now - _OVER_SECONDS:
            del self._over[oldest]

    def _forget(self) -> None:
        oldest = self._clock() - _FORGET_SECONDS
        self.drop([name for name, known in self._known.items() if known.loss and known.lost_at < oldest])
