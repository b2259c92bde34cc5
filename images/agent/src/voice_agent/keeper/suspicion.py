"""Which of the calls that are out of sight are really lost: a keeper that sees nothing may itself be the one cut off.

Taking a call from an agent that serves it costs the caller a turn; leaving one that is lost alone costs the call. So
others are asked, in the order of what they know: the other keepers, the API server, LiveKit.

- A keeper that another one contradicts is wrong.
- Two that agree, and see other calls live, are right.
- Alone, but with other calls in sight, a keeper takes a bounded share of the fleet at a time.
- If no keeper sees any call, closed connections of one pod's calls are that pod's death: a partition closes none. For
  all else the API server must say that the pod is not ready, or LiveKit that the agent has left the room, which it
  notices after some 20 s (ICE timeouts, constants of livekit-server 1.13.5).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from livekit import api

from voice_agent.keeper.fleet import Fleet, Known
from voice_agent.keeper.ports import Peers, Pods
from voice_agent.keeper.recovery import API_ERRORS
from voice_agent.tether.wire import Loss

logger = logging.getLogger(__name__)

SHARE = 0.2
"""Of the known calls, how many are taken at a time on one keeper's word."""
_ANSWER_SECONDS = 1.0


class Suspicion:
    """Judges losses.

    Args:
        fleet: the calls that this keeper knows.
        client: LiveKit's API.
        pods: as the API server has them.
        peers: the other keepers.
    """

    def __init__(self, fleet: Fleet, client: api.LiveKitAPI, pods: Pods, peers: Peers) -> None:
        self._fleet = fleet
        self._client = client
        self._pods = pods
        self._peers = peers

    async def really_lost(self, lost: Sequence[Known], already: int) -> list[Known]:
        """Those of `lost` that may be recovered now; the others are asked about again at the next look.

        Args:
            lost: calls that are out of sight.
            already: how many are being recovered.
        """
        seen = await self._seen_by_peers()
        unseen = [known for known in lost if seen is None or (known.call.call, known.call.epoch) not in seen]
        if contradicted := len(lost) - len(unseen):
            logger.warning("another keeper sees %d of the %d calls that are out of sight here", contradicted, len(lost))
        alive = sum(known.loss is None for known in self._fleet.calls)
        if seen is not None and (alive or seen):
            return unseen
        if alive:
            share = max(1, round(SHARE * len(self._fleet.calls)))
            return unseen[: max(0, share - already)]
        if len({known.call.pod for known in unseen}) == 1 and all(known.loss is Loss.CLOSED for known in unseen):
            return unseen
        return await self._corroborated(unseen)

    async def _seen_by_peers(self) -> frozenset[tuple[str, int]] | None:
        try:
            return await asyncio.wait_for(self._peers.tethered(), _ANSWER_SECONDS)
        except TimeoutError:
            return None

    async def _corroborated(self, lost: Sequence[Known]) -> list[Known]:
        try:
            living = await asyncio.wait_for(self._pods.living(), _ANSWER_SECONDS)
        except TimeoutError:
            living = None
        verdicts = await asyncio.gather(*(self._is_gone(known, living) for known in lost))
        return [known for known, gone in zip(lost, verdicts, strict=True) if gone]

    async def _is_gone(self, known: Known, living: frozenset[str] | None) -> bool:
        if living is not None and known.call.pod not in living:
            return True
        request = api.ListParticipantsRequest(room=known.call.room)
        try:
            people = await asyncio.wait_for(self._client.room.list_participants(request), _ANSWER_SECONDS)
        except API_ERRORS:
            return False
        return all(person.identity != known.call.agent_identity for person in people.participants)
