"""What the keeper asks of the world around it, so that it can also run outside of Kubernetes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from voice_agent.tether.wire import Tethered


class Leadership(Protocol):
    """Which of the keepers acts."""

    @property
    def leading(self) -> bool:
        """Whether this one does, now."""


class Lead(Leadership, Protocol):
    """A leadership that can be given up."""

    def stand_aside(self) -> bool:
        """Let another keeper act; returns whether one can."""


class Pods(Protocol):
    """The fleet's pods as the API server has them."""

    async def living(self) -> frozenset[str] | None:
        """Names of the fleet's pods that are ready; None if nobody can be asked."""


class Peers(Protocol):
    """The other keepers."""

    async def tethered(self) -> frozenset[tuple[str, int]] | None:
        """(call, epoch) of all that another keeper sees alive now; None if no other keeper answers."""

    async def leads(self) -> bool | None:
        """Whether another keeper says that it acts; None if one does not answer."""


class Agents(Protocol):
    """The agents in their rooms."""

    async def answering(self, calls: Iterable[Tethered]) -> frozenset[Tethered]:
        """Those of `calls` whose agents are in their rooms and answer there."""

    def unanswered(self, call: Tethered) -> bool:
        """Whether the agent of `call`, when it was asked a moment ago, let the time for an answer pass."""
