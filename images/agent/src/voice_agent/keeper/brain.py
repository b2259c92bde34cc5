"""What the keeper does about calls that are out of sight, if it is the one that leads."""

from __future__ import annotations

import asyncio
import logging

from livekit import api
from pydantic import JsonValue

from voice_agent.keeper.fleet import Fleet, Known, Move
from voice_agent.keeper.ports import Leadership, Peers, Pods
from voice_agent.keeper.recovery import Recovery, Result
from voice_agent.keeper.relapses import Relapses
from voice_agent.keeper.rooms import AgentsInRooms
from voice_agent.keeper.suspicion import Suspicion
from voice_agent.state.store import Store
from voice_agent.telemetry import metrics
from voice_agent.tether.server import Sight, TetherServer
from voice_agent.tether.wire import Ending, Loss, Tethered

logger = logging.getLogger(__name__)

# A tether that broke for itself is made again in 25 to 75 ms, see `tether.client`.
RECONNECT_SECONDS = 0.15
_LOOK_SECONDS = 0.25
# A caller who is in another room of that name later has made another call.
ANEW_SECONDS = 180.0
# Each try asks LiveKit's API up to thirty times a second; whoever is found waiting beyond these waits a little longer.
FOUND_AT_A_TIME = 20


class Brain:
    """A tether server's watcher that has lost calls recovered.

    Args:
        client: LiveKit's API.
        store: where epochs are claimed.
        leadership: only the keeper that leads acts; the others remember what they miss, and act when they come to
            lead.
        pods: the fleet's pods, for corroboration.
        peers: the other keepers, for corroboration.
        agent_name: the fleet's, see `Recovery`.
    """

    def __init__(
        self,
        client: api.LiveKitAPI,
        store: Store,
        leadership: Leadership,
        pods: Pods,
        peers: Peers,
        agent_name: str | None = None,
    ) -> None:
        self._fleet = Fleet()
        self._leadership = leadership
        self._suspicion = Suspicion(self._fleet, client, pods, peers, AgentsInRooms(client), self._sight)
        self._recovery = Recovery(client, store, self._supersede, self._fleet.get, leadership, agent_name)
        self._server: TetherServer | None = None
        self._missed = asyncio.Event()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._found: dict[str, Tethered] = {}
        self._relapses = Relapses()

    def attach(self, server: TetherServer) -> None:
        """`server` is the one that this brain is told by."""
        self._server = server

    def calls(self) -> list[Known]:
        """Every call that is known, for the status page."""
        return self._fleet.calls

    def past_moves(self) -> list[Move]:
        """The last moves of calls that are over, for the status page."""
        return self._fleet.past_moves

    def rooms(self) -> frozenset[str]:
        """See `Calls`."""
        return frozenset(call.partition("/")[0] for call in [*(k.call.call for k in self._fleet.calls), *self._running])

    def is_over(self, dispatch: str) -> bool:
        """See `Calls`."""
        return self._fleet.is_over(dispatch)

    def left(self, dispatch: str) -> tuple[Tethered, float] | None:
        """See `Calls`."""
        return self._fleet.left(dispatch)

    def gave_way(self, dispatch: str) -> bool:
        """See `Calls`."""
        return self._fleet.gave_way(dispatch)

    def is_lost(self, call: Tethered) -> bool:
        """See `Calls`."""
        lost = [*(known.call for known in self._fleet.lost), *self._found.values()]
        return any((each.room, each.caller) == (call.room, call.caller) for each in lost)

    def recover_found(self, call: Tethered) -> bool:
        """See `Calls`."""
        if len(self._found) >= FOUND_AT_A_TIME:
            return False
        if call.call not in self._running and self._fleet.get(call.call) is None:
            self._found[call.call] = call
            self._running[call.call] = asyncio.create_task(self._recover(call, anew=True))
        return True

    def on_call(self, call: Tethered) -> None:
        """See `Watcher`."""
        self._fleet.seen(call)

    def on_state(self, call: Tethered, state: dict[str, JsonValue]) -> None:
        """See `Watcher`."""
        self._fleet.said(call, state)

    def on_lost(self, call: Tethered, loss: Loss) -> None:
        """See `Watcher`."""
        loss = self._fleet.missed(call, loss)
        logger.warning("call %s is out of sight (%s)", call.call, loss, extra={"lost_pod": call.pod})
        metrics.LOSSES.labels(loss).inc()
        self._missed.set()

    def on_goodbye(self, call: Tethered, ending: Ending) -> None:
        """See `Watcher`."""
        self._fleet.ended(call, ending)

    def died(self, call: str) -> int:
        """See `Watcher`."""
        known = self._fleet.get(call)
        return known.died if known else 0

    def recovers(self, call: str) -> bool:
        """See `Watcher`; of a call whose agents die of what they restore, the next is told so, and no other comes."""
        known = self._fleet.get(call)
        return call in self._running and known is not None and known.loss is not None and not known.died

    async def run(self) -> None:
        """Recover lost calls until cancelled."""
        try:
            while True:
                try:
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._missed.wait()
                except TimeoutError:
                    pass
                else:
                    self._missed.clear()
                    await asyncio.sleep(RECONNECT_SECONDS)
                try:
                    await self._look()
                except Exception:
                    # Whatever it is, the next look may see more.
                    logger.exception("the keeper could not look after the lost calls")
        finally:
            for task in self._running.values():
                task.cancel()

    async def _look(self) -> None:
        metrics.KEEPER_CALLS.set(len(self._fleet.calls))
        lost = [
            known
            for known in self._fleet.lost
            if known.call.call not in self._running and self._relapses.due(known.call.call, known.lost_at)
        ]
        if not lost or not self._leadership.leading:
            return
        already = len(set(self._running.values())) - len(self._found)
        for known in await self._suspicion.really_lost(lost, already):
            current = self._fleet.get(known.call.call)
            if known.call.call in self._running or current is None or not current.loss or current.call != known.call:
                continue
            silent, anew = known.loss is not Loss.CLOSED, self._fleet.lost_for(known) < ANEW_SECONDS
            self._running[known.call.call] = asyncio.create_task(
                self._recover(known.call, known.lost_at, silent=silent, anew=anew)
            )

    async def _recover(
        self, call: Tethered, lost_at: float | None = None, *, silent: bool = False, anew: bool = False
    ) -> None:
        this, names = self._running[call.call], [call.call]

        def moved(to: Tethered) -> None:
            # Whoever is found or lost under the new name meanwhile is this call's.
            self._running.setdefault(to.call, this)
            names.append(to.call)

        def recovered() -> None:
            if lost_at is not None:
                self._relapses.recovered(names[-1], lost_at)

        try:
            result = await self._recovery.run(call, recovered, moved, silent=silent, anew=anew)
            metrics.RECOVERIES.labels(result).inc()
            known = self._fleet.get(call.call)
            # Of a recovered call that is still the lost one here, the agent is tethered elsewhere.
            elsewhere = result is Result.RECOVERED and known is not None and known.call == call
            returned = known is not None and not known.loss
            # In its room's list of dispatches a call that is given up is found again, but not by its old name.
            over = result is Result.CALLER_LEFT or (result is Result.GIVEN_UP and len(names) == 1)
            if elsewhere or (over and not returned):
                self._fleet.drop([call.call])
        finally:
            self._running = {name: task for name, task in self._running.items() if task is not this}
            self._found.pop(call.call, None)

    def _sight(self) -> Sight:
        return self._server.sight() if self._server else Sight()

    async def _supersede(self, call: str, epoch: int) -> None:
        if self._server is not None:
            await self._server.supersede(call, epoch)
