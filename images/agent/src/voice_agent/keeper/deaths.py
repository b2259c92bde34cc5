"""Whether a call's agents die of what they restore, as of a state that is too much for a process' memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from voice_agent.keeper.relapses import LASTS_SECONDS
from voice_agent.tether.wire import LEAVING, RESTORING


@dataclass(frozen=True)
class Deaths:
    """Of a call's agents in a row.

    Attributes:
        before: how many had died when this one came.
        restores: whether it restores the call, or has done so, and has not left alive.
        at_work_since: when it told that it has the call, on the clock; None before.
    """

    before: int = 0
    restores: bool = False
    at_work_since: float | None = None

    def told(self, state: Mapping[str, JsonValue], epoch: int, now: float) -> Deaths:
        """After an agent with `epoch` has told its state."""
        if LEAVING in state:
            return replace(self, restores=False)
        if state.get(RESTORING) == epoch:
            return replace(self, restores=True)
        return self if self.at_work_since is not None else replace(self, at_work_since=now)

    def when_lost(self, at: float) -> int:
        """How many it is with an agent that was lost at that time.

        The memory of a process is looked at every 5 s (livekit-agents 1.8.9, ipc/supervised_proc.py): one that
        restores too much may still be at work for a while.
        """
        if self.at_work_since is not None and at - self.at_work_since >= LASTS_SECONDS:
            return 0
        return self.before + self.restores
