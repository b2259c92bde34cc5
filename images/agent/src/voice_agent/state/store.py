"""What a store of calls does, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

# A call's snapshot outlives its last change by this much: longer than any call goes without a turn, and not for
# ever, because it is a secret.
TTL_SECONDS = 24 * 3600.0


# Redis counts in Lua's floating-point numbers.
MAX_EPOCH = 2**53


class StoreError(Exception):
    """The store cannot be reached or refuses; the text holds no secret."""


@dataclass(frozen=True, order=True)
class Stamp:
    """Orders the snapshots of a call: a later epoch wins, and within one the later sequence number."""

    epoch: int
    sequence: int


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as it is kept: encrypted, opaque."""

    stamp: Stamp
    sealed: bytes


@dataclass(frozen=True)
class Kept:
    """What is known of a call outside of its pod."""

    epoch: int
    """The highest that was put or claimed: the fencing token of the agent that may speak."""
    snapshot: Snapshot | None
    """The latest, which may be of an earlier epoch; None before the first."""


class Store(Protocol):
    """Sealed snapshots and epochs, by call. Every method may raise StoreError."""

    async def put(self, call: str, snapshot: Snapshot) -> bool:
        """Keep the latest snapshot of `call`; they may arrive in any order and more than once.

        Returns:
            False if this one or a later is kept already, or a higher epoch is claimed: a superseded agent wrote it.
        """
        ...

    async def get(self, call: str) -> Kept | None:
        """What is known of `call`; None if nothing is."""
        ...

    async def claim(self, call: str, above: int = 0) -> int:
        """Take the next epoch of `call`: above every one that was put or claimed, and above `above`.

        Atomic: no two claims get the same epoch from one store. From then on what lower epochs put is refused.
        """
        ...

    async def delete(self, call: str, epoch: int, after: float = 0.0) -> bool:
        """Forget `call`, which ended in `epoch`; False, and nothing is forgotten, if a higher epoch is known.

        Args:
            call: its name.
            epoch: of its last agent.
            after: so many seconds later, unless the call has gone on by then: it is put or claimed again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
