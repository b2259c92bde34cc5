"""The keeper's surroundings where there are none: outside of Kubernetes, or with one keeper."""

from __future__ import annotations


class AlwaysLeading:
    """The only keeper leads."""

    leading = True

    def stand_aside(self) -> bool:
        """See `Lead.stand_aside`."""
        return False


class UnknownPods:
    """No API server can be asked."""

    async def living(self) -> None:
        """See `Pods.living`."""
        return


class NoPeers:
    """No other keeper is known."""

    async def tethered(self) -> None:
        """See `Peers.tethered`."""
        return

    async def leads(self) -> None:
        """See `Peers.leads`."""
        return

    async def reach_livekit(self) -> bool:
        """See `OtherKeepers.reach_livekit`."""
        return False

    async def pass_on(self, webhook: bytes, signature: str) -> None:
        """See `OtherKeepers.pass_on`."""
