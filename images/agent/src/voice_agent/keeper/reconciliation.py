"""What tethers cannot tell: callers who wait in a room that an agent was asked for and that has none.

Their agent died before it was tethered, or while no keeper ran, or none had a free slot when they came: LiveKit asks
once, and never again. Or they had left, so that their agent did too, and are back in the room before LiveKit ends it.

The rules, for livekit-server 1.13.5 by its source:

- A room's dispatch records say which agents it was to have; of the fleet's the latest counts. Without one the room is
  none of ours. A handover, a recovery and the end of a call delete those that they know to be used up.
- A record lists its jobs a little after a worker has taken them, and never tells in open-source LiveKit that a job has
  failed: that no agent is in the room is what counts. A job that has succeeded was declined for good, or has ended the
  call, or has left it to another agent, which may be gone.
- The agent of a process that died stays in the room for some 20 s.
- A room with an agent in it, of whatever name, is left alone: it may be handing over, and others' calls are theirs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from livekit import api
from livekit.protocol import agent as agent_protocol
from livekit.protocol import models

from voice_agent.call import errand as errands
from voice_agent.call.people import API_ERRORS
from voice_agent.keeper.ports import Leadership, Peers
from voice_agent.keeper.recovery import ROOM_STAYS_SECONDS
from voice_agent.telemetry import metrics
from voice_agent.tether.wire import Tethered

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
LOOKS = 3
"""How often in a row a caller must be found without an agent, the same jobs listed each time."""
UNANSWERED_SECONDS = 8.0
"""How long no job may be listed, or the agent be out of the room: a starved worker answers LiveKit within 10 s at the
very latest, and usually at once. An agent that comes later still leaves when it sees the other one's epoch."""
LEFT_SECONDS = 3.0
"""The same where LiveKit or the agent itself has told that it left: it has gone, and is not slow. It leaves a caller
who left three seconds after LiveKit has told of that, and taken them from its list: who is on it since is back."""
JOINS_WITHIN_SECONDS = 20.0
"""How long a job may take to join: it may have to start a process, on a starved machine."""
ROOMS_PER_LOOK = 30
"""Bounds the load on LiveKit's API, of two requests a room."""
_AGENT_PRESENT_SECONDS = 4.0
# What is told of several rooms at once is looked into at once.
_TOGETHER_SECONDS = 0.2
_NOT_OURS_SECONDS = 15.0
# The kinds that livekit-agents links an agent to.
_CALLERS = {
    models.ParticipantInfo.Kind.STANDARD,
    models.ParticipantInfo.Kind.SIP,
    models.ParticipantInfo.Kind.CONNECTOR,
}


class Calls(Protocol):
    """What the keeper does about calls."""

    def rooms(self) -> frozenset[str]:
        """SIDs of the rooms whose calls tethers tell of, or that are being recovered."""

    def is_over(self, dispatch: str) -> bool:
        """Whether the call of a dispatch has ended as its agent wished."""

    def left(self, dispatch: str) -> tuple[Tethered, float] | None:
        """The agent of a dispatch, if it has ended the call because its caller had left, and how many seconds ago."""

    def gave_way(self, dispatch: str) -> bool:
        """Whether the agent that a dispatch brought has left for another."""

    def is_lost(self, call: Tethered) -> bool:
        """Whether a call of this room and caller is known to be lost, also by the SID of the room that it was in."""

    def recover_found(self, call: Tethered) -> bool:
        """Have `call` taken up; False if so many are being recovered that it has to wait."""


@dataclass
class _Room:
    """A room that is watched.

    Attributes:
        look_at: when it is looked into next.
        agent_seen: whether an agent was ever there.
        agent_left: whether LiveKit, or the agent, has told that one left, since one was seen last.
        dispatch: the latest of ours, when it was looked into last.
        found: the caller, the record and the jobs that were found last; None if nobody waits.
        since: of that very finding.
        looks: in a row that found the same.
    """

    look_at: float = 0.0
    agent_seen: bool = False
    agent_left: bool = False
    dispatch: str = ""
    found: tuple[object, ...] | None = None
    since: float = 0.0
    looks: int = 0


@dataclass(frozen=True)
class _Waiting:
    """A caller without an agent."""

    call: Tethered
    jobs: frozenset[str] = field(default_factory=frozenset)
    returned: bool = False

    @property
    def why(self) -> str:
        if self.returned:
            return "returned"
        return "agent_gone" if self.jobs else "unanswered"

    @property
    def finding(self) -> tuple[object, ...]:
        return self.call.caller, self.call.dispatch_id, self.jobs, self.returned


class Reconciliation:
    """Looks for callers without an agent, as long as this keeper leads.

    Args:
        client: LiveKit's API.
        agent_name: the fleet's; empty for automatic dispatch.
        calls: what is known, and has calls recovered.
        leadership: only the keeper that leads looks.
        peers: what another keeper sees alive is left alone.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        client: api.LiveKitAPI,
        agent_name: str,
        calls: Calls,
        leadership: Leadership,
        peers: Peers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._agent_name = agent_name
        self._calls = calls
        self._leadership = leadership
        self._peers = peers
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._told = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except API_ERRORS as error:
                logger.warning("LiveKit does not tell of its rooms: %s", str(error) or type(error).__name__)
            except Exception:
                # Whatever it is, the next look may see more.
                logger.exception("the keeper could not look for callers without an agent")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._told.wait()
                await asyncio.sleep(_TOGETHER_SECONDS)
            self._told.clear()

    def agent_left(self, room: str) -> None:
        """LiveKit tells that an agent has left the room with this SID."""
        # Where a tether tells of the call, or nobody asked for an agent of ours, there is nothing to look for.
        if watched := self._rooms.get(room):
            watched.agent_left, watched.look_at = True, 0.0
            self._told.set()

    async def look(self) -> None:
        """Look once, and have those recovered who have waited for long enough.

        Raises:
            API_ERRORS: LiveKit does not list its rooms.
        """
        if not self._leadership.leading:
            self._rooms.clear()
            return
        listed = await self._client.room.list_rooms(api.ListRoomsRequest())
        known = self._calls.rooms()
        rooms = {room.sid: room for room in listed.rooms if room.num_participants and room.sid not in known}
        self._rooms = {sid: self._rooms.get(sid, _Room()) for sid in rooms}
        now = self._clock()
        due = [sid for sid, room in self._rooms.items() if room.look_at <= now]
        due.sort(key=self._urgency)
        due = due[:ROOMS_PER_LOOK]
        found = await asyncio.gather(*(self._look_into(rooms[sid], self._rooms[sid]) for sid in due))
        await self._recover([waiting for waiting in found if waiting is not None])

    def _urgency(self, sid: str) -> tuple[bool, float]:
        """Sorts rooms: first those in which somebody waits, the longest before the others, then new ones."""
        room = self._rooms[sid]
        return room.found is None, room.look_at if room.found is None else room.since

    async def _look_into(self, room: api.Room, watched: _Room) -> _Waiting | None:
        """Who has waited in the room for long enough."""
        try:
            waiting = await self._waiting(room, watched)
        except API_ERRORS as error:
            logger.info("room %s cannot be looked into: %s", room.name, str(error) or type(error).__name__)
            watched.look_at = self._clock()
            return None
        now = self._clock()
        if waiting is None:
            watched.found = None
            return None
        watched.look_at = now
        if watched.found != waiting.finding:
            watched.found, watched.looks, watched.since = waiting.finding, 0, now
        watched.looks += 1
        joining = waiting.jobs and not watched.agent_seen
        long_enough = JOINS_WITHIN_SECONDS if joining else UNANSWERED_SECONDS
        if watched.agent_left:
            long_enough = LEFT_SECONDS
        return waiting if watched.looks >= LOOKS and now - watched.since >= long_enough else None

    async def _waiting(self, room: api.Room, watched: _Room) -> _Waiting | None:
        """Who is in the room without an agent that was asked for; if nobody, it is looked into less often."""
        now = self._clock()
        watched.look_at = now + _NOT_OURS_SECONDS
        people = (await self._client.room.list_participants(api.ListParticipantsRequest(room=room.name))).participants
        if any(person.kind == models.ParticipantInfo.Kind.AGENT for person in people):
            watched.agent_seen, watched.agent_left, watched.look_at = True, False, now + _AGENT_PRESENT_SECONDS
            return None
        callers = [person for person in people if person.kind in _CALLERS and not person.permission.hidden]
        if not callers:
            watched.look_at = now
            return None
        listed = await self._client.agent_dispatch.list_dispatch(room.name)
        ours = sorted((d for d in listed if d.agent_name == self._agent_name), key=lambda d: d.state.created_at)
        if not ours:
            return None
        latest = ours[-1]
        if watched.dispatch != latest.id:
            # The agent that has left is not the one that is asked for now.
            watched.agent_left = watched.agent_left and not watched.dispatch
            watched.dispatch = latest.id
        gave_way = self._calls.gave_way(latest.id)
        errand = errands.read(latest.metadata)
        ended = ours if gave_way else [latest]
        # One that was called to a call may have found its caller gone, and with them the agent before.
        served = ours if gave_way or errand else [latest]
        departures = [told for each in reversed(served) if (told := self._calls.left(each.id))]
        left, ago = next(
            ((agent, ago) for agent, ago in departures if errand is None or agent.caller == errand.caller), (None, 0.0)
        )
        returned = left is not None and _is_back(left, room, callers)
        hung_up = left is not None and not returned and ago > ROOM_STAYS_SECONDS
        if hung_up or any(self._calls.is_over(dispatch.id) for dispatch in ended):
            # So that a keeper which was not told of it knows, too.
            for dispatch in ours:
                await self._client.agent_dispatch.delete_dispatch(dispatch.id, room.name)
            return None
        if left is not None:
            # Whoever else is in the room is not this call's caller.
            watched.agent_left, watched.look_at = True, now
            return _Waiting(left, returned=True) if returned else None
        jobs = latest.state.jobs
        if jobs and not gave_way and all(job.state.status == agent_protocol.JobStatus.JS_SUCCESS for job in jobs):
            return None
        callers.sort(key=lambda person: (person.joined_at_ms or person.joined_at * 1000, person.identity))
        caller = errand.caller if errand else callers[0].identity
        if all(person.identity != caller for person in callers):
            return None
        call = Tethered(
            room=room.name,
            room_sid=room.sid,
            caller=caller,
            epoch=errand.epoch if errand else 1,
            job_id=jobs[-1].id if jobs else "",
            dispatch_id=latest.id,
            pod="",
            node="",
            agent_identity=jobs[-1].state.participant_identity if jobs else "",
            agent_name=self._agent_name,
        )
        return _Waiting(call, frozenset(job.id for job in jobs))

    async def _recover(self, waiting: Sequence[_Waiting]) -> None:
        if not waiting:
            return
        seen = await self._peers.tethered() or frozenset()
        alive = {call for call, _ in seen}
        for each in waiting:
            if each.call.call in alive or self._calls.is_lost(each.call):
                continue
            if not self._calls.recover_found(each.call):
                return
            logger.warning("call %s has no agent (%s), found by LiveKit's list of rooms", each.call.call, each.why)
            metrics.FOUND.labels(each.why).inc()


def _is_back(left: Tethered, room: api.Room, callers: Sequence[models.ParticipantInfo]) -> bool:
    """Whether the caller who had left is in the same room again; of one by telephone what is listed is a remnant."""
    return room.sid == left.room_sid and any(
        person.identity == left.caller and person.kind != models.ParticipantInfo.Kind.SIP for person in callers
    )
