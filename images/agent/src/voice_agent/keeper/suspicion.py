"""Which of the calls that are out of sight are really lost: a keeper that sees nothing may itself be the one cut off.

Taking a call from an agent that serves it costs the caller a turn; leaving one that is lost alone costs the call. So
others are asked, in the order of what they know: the other keepers and, at the same time, the agents that fell silent,
the API server, LiveKit.

- A keeper that another one contradicts is wrong. So is one to which an agent is silent that answers in its room.
- Closed connections are the death of processes: no partition closes one. Two keepers that agree, while either has other
  calls in sight, are believed.
- Silence is the death of a node, or a partition, in which keepers agree and are wrong together. Of one node it is
  believed where closed connections are: a node that dies must be answered for within seconds. Of several nodes at
  once it is doubted.
- An agent that has said that nothing comes to it from LiveKit is believed once LiveKit answers us, and not the agent:
  LiveKit itself may have stood still.
- What one keeper alone has lost, with other calls in sight, is doubted.
- What is doubted is taken if it is corroborated, and else a bounded share of the fleet at a time.
- If no keeper has any call in sight, closed connections of one pod's calls are that pod's death. All else is taken
  only if it is corroborated: keepers that are cut off from all pods touch no live call.

Corroborated means that the API server says that the pod is not ready, that LiveKit, which answers us, gets no answer
from the agent, or that it says that the agent has left the room, which it notices after some 20 s (ICE timeouts,
constants of livekit-server 1.13.5). An agent that answers in its room is not lost, whatever else is said.

A call is in sight if it was heard a moment ago: those that the same event cuts off are noticed within half a second of
each other, and until then the others look as if they lived.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from itertools import islice

from livekit import api

from voice_agent.call.people import API_ERRORS
from voice_agent.keeper.fleet import Fleet, Known
from voice_agent.keeper.ports import Agents, Peers, Pods
from voice_agent.keeper.reach import unreachable
from voice_agent.keeper.rooms import AT_A_TIME
from voice_agent.tether.server import SILENCE_SECONDS, Sight
from voice_agent.tether.wire import Loss, Tethered

logger = logging.getLogger(__name__)

SHARE = 0.2
"""Of the known calls, how many are taken at a time although it is doubted that they are lost."""
TOGETHER_SECONDS = 5.0
"""Nodes that fall silent within this time of each other may have been cut off by one event."""
_ANSWER_SECONDS = 1.0


class Suspicion:
    """Judges losses.

    Args:
        fleet: the calls that this keeper knows.
        client: LiveKit's API.
        pods: as the API server has them.
        peers: the other keepers.
        agents: as LiveKit reaches them.
        sight: what this keeper's tethers show now.
    """

    def __init__(
        self,
        fleet: Fleet,
        client: api.LiveKitAPI,
        pods: Pods,
        peers: Peers,
        agents: Agents,
        sight: Callable[[], Sight],
    ) -> None:
        self._fleet = fleet
        self._client = client
        self._pods = pods
        self._peers = peers
        self._agents = agents
        self._sight = sight
        self._doubted = frozenset[tuple[str, int]]()
        self._seen_before = frozenset[tuple[str, int]]()

    async def really_lost(self, lost: Sequence[Known], already: int) -> list[Known]:
        """Those of `lost` that may be recovered now; the others are asked about again at the next look.

        Args:
            lost: calls that are out of sight.
            already: how many are being recovered.
        """
        # A keeper on the node that is gone does not answer either: the caller waits for one of the two only. Where this
        # keeper is the one that is cut off, the others tell of the same calls again, and their agents are left alone.
        new = (k.call for k in lost if k.loss is Loss.SILENT and _token(k) not in self._seen_before)
        ahead = frozenset(islice(new, AT_A_TIME))
        seen, answering = await asyncio.gather(self._seen_by_peers(), self._agents.answering(ahead))
        self._seen_before = frozenset(_token(known) for known in lost) & (seen or frozenset())
        unseen = [known for known in lost if seen is None or _token(known) not in seen]
        if contradicted := len(lost) - len(unseen):
            logger.warning("another keeper sees %d of the %d calls that are out of sight here", contradicted, len(lost))
        if any(known.loss is Loss.CUT_OFF for known in unseen):
            # What it may not have passed on when they were asked is asked once more, now that it is known to answer.
            ahead = frozenset()
            if await unreachable(self._client):
                # It stands still for everybody, and would have no agent's answer either.
                unseen = [known for known in unseen if known.loss is not Loss.CUT_OFF]
        # No partition closes a connection: whoever is asked after a death only waits.
        answering |= await self._agents.answering(
            known.call for known in unseen if known.loss is not Loss.CLOSED and known.call not in ahead
        )
        unseen = [known for known in unseen if known.call not in answering]
        if not self._any_in_sight(seen or ()):
            if len({known.call.pod for known in unseen}) == 1 and all(known.loss is Loss.CLOSED for known in unseen):
                return unseen
            return await self._corroborated(await self._unheard(unseen))
        doubtful = self._doubtful(seen or ())
        doubted = [known for known in unseen if seen is None or _token(known) in doubtful]
        if not doubted:
            return unseen
        certain = [known for known in unseen if known not in doubted]
        doubted = await self._unheard(doubted)
        certain += await self._corroborated(doubted)
        share = max(1, round(SHARE * len(self._fleet.calls)))
        return certain + [known for known in doubted if known not in certain][: max(0, share - already)]

    def _any_in_sight(self, seen: Collection[tuple[str, int]]) -> bool:
        """Whether this keeper or another has a call in sight that lives for sure."""
        if self._sight().steady:
            return True
        # The same event may have cut off both, and the other keeper notices a little later.
        return any(
            _token(known) in seen and self._fleet.lost_for(known) > SILENCE_SECONDS / 2 for known in self._fleet.lost
        )

    def _doubtful(self, seen: Collection[tuple[str, int]]) -> frozenset[tuple[str, int]]:
        """The silent calls of which another node fell silent together with theirs, then or when last looked at.

        Silent to us, or cut off from LiveKit.
        """
        silent = [k for k in self._fleet.lost if k.loss is not Loss.CLOSED and _token(k) not in seen]
        moments = [(_node(known.call), self._fleet.lost_for(known)) for known in silent]
        moments += [(_node(call), 0.0) for call in self._sight().faltering]
        together = {
            _token(known)
            for known in silent
            if any(
                node != _node(known.call) and abs(lost_for - self._fleet.lost_for(known)) < TOGETHER_SECONDS
                for node, lost_for in moments
            )
        }
        # Not certain either as soon as those of the other node are taken.
        self._doubted = frozenset(_token(known) for known in silent) & (self._doubted | together)
        return self._doubted

    async def _seen_by_peers(self) -> frozenset[tuple[str, int]] | None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await self._peers.tethered()
        except TimeoutError:
            return None

    async def _unheard(self, lost: Sequence[Known]) -> list[Known]:
        """Those whose agents do not answer in their rooms; where no connection closed, they have been asked."""
        answering = await self._agents.answering(known.call for known in lost if known.loss is Loss.CLOSED)
        return [known for known in lost if known.call not in answering]

    async def _corroborated(self, lost: Sequence[Known]) -> list[Known]:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                living = await self._pods.living()
        except TimeoutError:
            living = None
        verdicts = await asyncio.gather(*(self._is_gone(known, living) for known in lost))
        return [known for known, gone in zip(lost, verdicts, strict=True) if gone]

    async def _is_gone(self, known: Known, living: frozenset[str] | None) -> bool:
        if living is not None and known.call.pod not in living:
            return True
        request = api.ListParticipantsRequest(room=known.call.room)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                people = await self._client.room.list_participants(request)
        except API_ERRORS:
            return False
        if self._agents.unanswered(known.call):
            return True
        return all(person.identity != known.call.agent_identity for person in people.participants)


def _token(known: Known) -> tuple[str, int]:
    return known.call.call, known.call.epoch


def _node(call: Tethered) -> str:
    return call.node or call.pod
