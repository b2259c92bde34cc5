"""The calls that this keeper knows: who serves them, how they came there, and which are out of sight."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from voice_agent.keeper.deaths import Deaths
from voice_agent.tether.wire import CUT_OFF, Ending, Loss, Tethered

# Nobody took it up in this time, and its caller has long hung up.
_FORGET_SECONDS = 300.0
# Longer than a caller stays where the agent has ended the call.
_OVER_SECONDS = 3600.0
_MOVES_OF_PAST_CALLS = 20

HANDOVER = "handover"
OTHER = "other"


@dataclass(frozen=True)
class Move:
    """How a call came from one agent to the next.

    Attributes:
        room: of the call.
        source: the pod that had it.
        target: the pod that has it since.
        why: `HANDOVER`, how its agent was lost, or `OTHER` where nobody has told.
        at: when the next agent was tethered, on the fleet's clock.
        seconds: from the loss, or the goodbye, to that; 0 if the next one was there before.
    """

    room: str
    source: str
    target: str
    why: str
    at: float
    seconds: float = 0.0


@dataclass(frozen=True)
class Known:
    """A call as it was last told of.

    Attributes:
        call: the agent that has it, or had it when it was lost.
        state: what it said it does; for people.
        loss: how it went out of sight; None while it is seen.
        lost_at: when, on the clock.
        move: the last; None for the call's first agent, and if another keeper has seen it.
        deaths: what it tells of whether its agents die of what they restore.
    """

    call: Tethered
    state: dict[str, JsonValue] = field(default_factory=dict)
    loss: Loss | None = None
    lost_at: float = 0.0
    move: Move | None = None
    deaths: Deaths = field(default_factory=Deaths)

    @property
    def died(self) -> int:
        """How many agents in a row have died of what they restored, this one included if it is lost."""
        return self.deaths.when_lost(self.lost_at) if self.loss else self.deaths.before


class Fleet:
    """Follows the tethers; of several agents of a call that of the highest rank counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._leaving: dict[str, tuple[Tethered, str, float]] = {}
        """Agents that said goodbye before their successors were seen: why, and when."""
        self._past_moves: deque[Move] = deque(maxlen=_MOVES_OF_PAST_CALLS)
        # By dispatch, the first first.
        self._over: dict[str, tuple[Tethered, float]] = {}
        self._left: dict[str, tuple[Tethered, float]] = {}
        self._gave_way: dict[str, tuple[Tethered, float]] = {}

    @property
    def calls(self) -> list[Known]:
        """All that are known, those out of sight included."""
        return list(self._known.values())

    @property
    def past_moves(self) -> list[Move]:
        """The last of calls that are over, the latest first."""
        return list(reversed(self._past_moves))

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
        # One that goes on in a room that was made anew has said goodbye under its old name.
        self._over.pop(call.dispatch_id, None)
        known = self._known.get(call.call)
        # Of two agents that were sent at once one leaves for the other, but not for one that is gone.
        latest = known is None or (call.epoch >= known.call.epoch if known.loss else call.rank >= known.call.rank)
        if latest:
            state = known.state if known else {}
            back = known is not None and known.call == call
            deaths = known.deaths if known and back else Deaths(known.died if known else 0)
            self._known[call.call] = Known(call, state, move=self._move(known, call), deaths=deaths)

    def said(self, call: Tethered, state: dict[str, JsonValue]) -> None:
        """`call` tells what it does."""
        known = self._known.get(call.call)
        if known and known.call == call:
            deaths = known.deaths.told(state, call.epoch, self._clock())
            self._known[call.call] = replace(known, state=state, deaths=deaths)

    def missed(self, call: Tethered, loss: Loss) -> Loss:
        """`call` is out of sight; returns how, by what its agent has told before, too."""
        known = self._known.get(call.call)
        if known and known.call == call and known.state.get(CUT_OFF) == call.epoch and loss is Loss.CLOSED:
            loss = Loss.CUT_OFF
        if known and not known.loss and call != known.call and call.epoch == known.call.epoch:
            # Another has gone on in its place.
            return loss
        if known is None:
            self._known[call.call] = Known(call, loss=loss, lost_at=self._clock())
        elif known.call == call and known.loss:
            self._known[call.call] = replace(known, loss=loss)
        elif call.rank >= known.call.rank:
            deaths = known.deaths if known.call == call else Deaths(known.died)
            self._known[call.call] = replace(known, call=call, loss=loss, lost_at=self._clock(), deaths=deaths)
        return loss

    def ended(self, call: Tethered, ending: Ending) -> None:
        """The agent of `call` has said goodbye."""
        known = self._known.get(call.call)
        if ending in {Ending.CALLER_LEFT, Ending.FINISHED}:
            self._remember(self._over if ending is Ending.FINISHED else self._left, call)
            if known and call.rank >= known.call.rank:
                self.drop([call.call])
            return
        if ending is Ending.SUPERSEDED:
            self._remember(self._gave_way, call)
        why = HANDOVER if ending is Ending.HANDED_OVER else OTHER
        if known and call.rank < known.call.rank:
            if known.move and (known.move.source, known.move.why) == (call.pod, OTHER):
                self._known[call.call] = replace(known, move=replace(known.move, why=why))
        elif known and call.rank == known.call.rank:
            # The successor may not be tethered here yet; it will be.
            del self._known[call.call]
            self._leaving[call.call] = call, why, self._clock()

    def is_over(self, dispatch: str) -> bool:
        """Whether the call of a dispatch has ended as its agent wished."""
        return dispatch in self._over

    def left(self, dispatch: str) -> tuple[Tethered, float] | None:
        """The agent of a dispatch, if it has ended the call because its caller had left, and how many seconds ago."""
        agent, at = self._left.get(dispatch, (None, 0.0))
        return (agent, self._clock() - at) if agent else None

    def gave_way(self, dispatch: str) -> bool:
        """Whether the agent that a dispatch brought has left for another."""
        return dispatch in self._gave_way

    def drop(self, calls: Iterable[str]) -> None:
        """Forget calls: they are over, or nobody takes them up."""
        for call in calls:
            known = self._known.pop(call, None)
            if known and known.move:
                self._past_moves.append(known.move)

    def _move(self, known: Known | None, call: Tethered) -> Move | None:
        left, why, since = self._leaving.pop(call.call, (None, OTHER, 0.0))
        now = self._clock()
        if known and known.call.epoch == call.epoch:
            return known.move and replace(known.move, target=call.pod)
        if known and known.loss:
            return Move(call.room, known.call.pod, call.pod, str(known.loss), now, now - known.lost_at)
        if known:
            # Of a handover the successor is seen first, and the agent before says why it leaves.
            return Move(call.room, known.call.pod, call.pod, OTHER, now)
        return Move(call.room, left.pod, call.pod, why, now, now - since) if left and left.epoch < call.epoch else None

    def _remember(self, agents: dict[str, tuple[Tethered, float]], agent: Tethered) -> None:
        now = self._clock()
        agents[agent.dispatch_id] = agent, now
        while agents[oldest := next(iter(agents))][1] < now - _OVER_SECONDS:
            del agents[oldest]

    def _forget(self) -> None:
        oldest = self._clock() - _FORGET_SECONDS
        lost = {name: known for name, known in self._known.items() if known.loss}
        epochs = self._epochs() if lost else {}
        # In a room that LiveKit has made anew, an agent with a later epoch has the call by another name.
        goes_on = [name for name, k in lost.items() if k.call.epoch < epochs.get((k.call.room, k.call.caller), 0)]
        self.drop({*goes_on, *(name for name, known in lost.items() if known.lost_at < oldest)})
        self._leaving = {name: left for name, left in self._leaving.items() if left[2] >= oldest}

    def _epochs(self) -> dict[tuple[str, str], int]:
        """The highest in sight of each room and caller, by whatever SID LiveKit knows the room."""
        epochs: dict[tuple[str, str], int] = {}
        for call in (known.call for known in self._known.values() if not known.loss):
            epochs[call.room, call.caller] = max(call.epoch, epochs.get((call.room, call.caller), 0))
        return epochs
