"""One call's recovery: the agent that is gone is fenced, and another is sent to its caller."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from livekit import api
from livekit.protocol import models

from voice_agent.call.absence import RETURNS_WITHIN_SECONDS
from voice_agent.call.errand import Errand, Kind, read
from voice_agent.call.fence import epoch_told, serves
from voice_agent.call.people import API_ERRORS, agents, participants, unless_gone
from voice_agent.keeper.fleet import Known
from voice_agent.keeper.ports import Leadership
from voice_agent.keeper.sending import TETHERED_WITHIN_SECONDS, NoAgentError, Sending, delete_dispatch
from voice_agent.state.store import Snapshot, Store, StoreError
from voice_agent.tether.wire import Tethered

logger = logging.getLogger(__name__)

# Then the caller has waited for longer than anybody does.
GIVE_UP_SECONDS = 120.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 2.0
# A LiveKit that has just started is asked for every call that it carried.
_ANEW_LOOK_SECONDS = 1.0
# After an outage livekit-rtc 1.1.21 tries again within 7 s, mostly much sooner: so few agents that live come later
# after their callers, and are replaced for nothing.
_AGENT_RETURNS_SECONDS = 5.0
# An agent writes a snapshot after every turn.
_WRITTEN_WITHIN_SECONDS = 300.0
# livekit-server 1.13.5 keeps a room for so long after everybody has left (`departure_timeout`): whoever comes back
# later comes to another room, and to a new conversation. After a restart all clients have come back by then.
ROOM_STAYS_SECONDS = 20.0


class Result(StrEnum):
    """How a recovery ended."""

    RECOVERED = "recovered"
    """Another agent has the call."""
    CALLER_LEFT = "caller_left"
    """There is nobody to talk with; no one is called back."""
    GIVEN_UP = "given_up"
    """The caller waits, and no agent came in time."""
    RETURNED = "returned"
    """The very agent that was lost is tethered again, and has the call."""
    LEFT_TO_ANOTHER = "left_to_another"
    """This keeper leads no more: the one that does now knows the call too."""


@dataclass(frozen=True)
class _Sent:
    """What it took to have the call taken up.

    Attributes:
        call: the lost one, in the room in which its caller is.
        dispatches: those that were made here.
        before: who was in the room before.
    """

    call: Tethered
    dispatches: frozenset[str]
    before: frozenset[str]


class Recovery:
    """Recovers one call at a time each time it is called.

    Args:
        client: LiveKit's API.
        store: where epochs are claimed.
        supersede: tells agents of a call below an epoch to leave, by their tethers.
        known: what is known of a call: the agent that is tethered, or was the last, and whether it is lost.
        leadership: looked at before every try.
        agent_name: by which agents are asked for too, if the lost one had another; None asks by that one's only.
    """

    def __init__(
        self,
        client: api.LiveKitAPI,
        store: Store,
        supersede: Callable[[str, int], Awaitable[None]],
        known: Callable[[str], Known | None],
        leadership: Leadership,
        agent_name: str | None = None,
    ) -> None:
        self._client = client
        self._store = store
        self._supersede = supersede
        self._known = known
        self._leadership = leadership
        self._agent_name = agent_name

    async def run(
        self,
        call: Tethered,
        recovered: Callable[[], None] = lambda: None,
        moved: Callable[[Tethered], None] = lambda _: None,
        *,
        silent: bool = False,
        anew: bool = False,
    ) -> Result:
        """Try until another agent has the call, its caller has left, or too much time has passed.

        Args:
            call: the agent that is gone.
            recovered: called as soon as another agent has the call, before its room is tidied.
            moved: called with the call's new name, if LiveKit has made its room anew.
            silent: whether its worker may still be registered with LiveKit, which then sends it jobs that it never
                answers: a pod that stands still, a node that is cut off.
            anew: whether its caller is looked for in another room of that name, too, which LiveKit may have made.
        """
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                came = await self._until_one_comes(call, moved, silent=silent, anew=anew)
        except TimeoutError:
            logger.error(  # noqa: TRY400 - each try has told why
                "call %s is given up: its caller waits, and no agent came in %.0f s", call.call, GIVE_UP_SECONDS
            )
            return Result.GIVEN_UP
        if isinstance(came, Result):
            return came
        recovered()
        try:
            await self._tidy(came)
            if came.call.call != call.call:
                await self._forget(call)
        except Exception:
            # The caller has an agent, and a dispatch too many costs less than one too few.
            logger.exception("what is left of call %s is not tidied", call.call)
        return Result.RECOVERED

    async def _forget(self, call: Tethered) -> None:
        """Forget the name that a call has no more, once its next agent has surely written what it goes on from."""
        if kept := await self._store.get(call.call):
            await self._store.delete(call.call, kept.epoch, after=_WRITTEN_WITHIN_SECONDS)

    async def _until_one_comes(
        self, lost: Tethered, moved: Callable[[Tethered], None], *, silent: bool, anew: bool
    ) -> _Sent | Result:
        pause, call, epoch = _FIRST_PAUSE_SECONDS, lost, lost.epoch
        # A fleet that was given another name has pods of the old one only as long as those drain.
        names = itertools.cycle(dict.fromkeys([call.agent_name, self._agent_name or call.agent_name]))
        while self._leadership.leading:
            # One that comes back after another epoch was taken leaves.
            if epoch == call.epoch and self._agent_of(call.call) == call:
                return Result.RETURNED
            try:
                found = await self._with_caller(call, anew=anew)
                if found is None:
                    await self._store.delete(lost.call, epoch)
                    return Result.CALLER_LEFT
                if found != call:
                    logger.warning("LiveKit has made the room of call %s anew: it is %s now", call.call, found.call)
                    call, epoch = found, max(epoch, found.epoch)
                    moved(call)
                # That may have taken long: the lost agent may be back, or one be there that another keeper has sent.
                if not self._leadership.leading:
                    break
                agent = self._agent_of(call.call)
                if agent == call and epoch == call.epoch:
                    return Result.RETURNED
                # One that came to a new room by itself is in nobody's way, unless there is a memory to go on from.
                new = call.call != lost.call
                if agent is not None and (agent.epoch > epoch or (new and await self._snapshot(lost.call) is None)):
                    return _Sent(call, frozenset(), await self._agents(call.room))
                # By the name that the call is kept under, also in a new room: an agent that the caller's token brings
                # there would take a claim for a call of its own that had an agent before, and go on above it.
                epoch = await self._store.claim(lost.call, above=epoch)
                sent = await self._send(lost, replace(call, agent_name=next(names)), epoch, silent=silent)
            except (NoAgentError, StoreError, *API_ERRORS) as error:
                logger.warning("call %s has no agent yet: %s", call.call, str(error) or type(error).__name__)
            except Exception:
                logger.exception("call %s has no agent yet", call.call)
            else:
                logger.info("call %s recovered", call.call, extra={"epoch": epoch, "lost_pod": call.pod})
                return sent
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return Result.LEFT_TO_ANOTHER

    async def _send(self, lost: Tethered, asked: Tethered, epoch: int, *, silent: bool) -> _Sent:
        """Fence the lost agent, and send one with `epoch` to its call, which is `asked` now."""
        # The caller hears nothing meanwhile, and LiveKit may be far: what can be asked at once, is.
        _, errand, before = await asyncio.gather(
            self._fence(asked, {lost.call, asked.call}, epoch), self._errand(lost, epoch), self._agents(asked.room)
        )
        sending = Sending(self._client, self._known, self._leadership, asked, errand, before)
        return _Sent(asked, await sending.run(silent=silent), before)

    async def _with_caller(self, call: Tethered, *, anew: bool) -> Tethered | None:
        """The call in the room that its caller is in, or returns to; None if they do not.

        No room is made for a caller: a dispatch for one that is gone would create it. If LiveKit has made the room
        anew, all come back to it by themselves, also the lost agent if it lives, with the next epoch: see
        `call.rejoining`. So it is given a moment, in which it is seen, too, that the caller is in that very room:
        people are told by the room's name, and may be those of the one before.
        """
        began = time.monotonic()
        other, since = "", began
        while True:
            listed = self._client.room.list_rooms(api.ListRoomsRequest(names=[call.room]))
            rooms, people = await asyncio.gather(listed, participants(self._client, call.room))
            now, sid = time.monotonic(), next((room.sid for room in rooms.rooms), "")
            there = any(p.identity == call.caller and p.kind != models.ParticipantInfo.Kind.AGENT for p in people)
            if there and sid == call.room_sid:
                return call
            if sid != call.room_sid and not anew:
                return None
            found = sid if there else ""
            if found != other:
                other, since = found, now
            elif other and now - since >= _AGENT_RETURNS_SECONDS:
                return replace(call, room_sid=other, epoch=call.epoch + 1)
            if not other and now - began >= ROOM_STAYS_SECONDS:
                return None
            await asyncio.sleep(_pause(now - began) if sid == call.room_sid else _ANEW_LOOK_SECONDS)

    async def _fence(self, call: Tethered, names: Iterable[str], epoch: int) -> None:
        for name in names:
            await self._supersede(name, epoch)
        if not call.agent_identity:  # no agent ever came
            return
        stale = api.RoomParticipantIdentity(room=call.room, identity=call.agent_identity)
        with unless_gone():
            await self._client.room.remove_participant(stale)

    async def _errand(self, lost: Tethered, epoch: int) -> Errand:
        """The next agent's: with what the first was told by its dispatch, as far as the lost one's dispatch knows."""
        known = self._known(lost.call)
        errand = Errand(
            kind=Kind.RECOVERY,
            caller=lost.caller,
            epoch=epoch,
            kept_as=lost.room_sid,
            deaths=known.died if known else 0,
        )
        if not lost.dispatch_id:
            return errand
        dispatch = None
        with unless_gone():
            dispatch = await self._client.agent_dispatch.get_dispatch(lost.dispatch_id, lost.room)
        if dispatch is None:
            return errand
        before = read(dispatch.metadata)
        if before is None:
            return errand.model_copy(update={"job_metadata": dispatch.metadata})
        kept_as = await self._kept_as(lost, before)
        return errand.model_copy(update={"job_metadata": before.job_metadata, "kept_as": kept_as})

    async def _kept_as(self, lost: Tethered, errand: Errand) -> str:
        """The SID of the room whose name the snapshot has that the lost agent, sent on `errand`, had come to.

        In a room that was made anew it may have died before its first one; a snapshot of a lower epoch is the new
        conversation's of an agent that the caller's token had brought there.
        """
        if errand.kept_as in {"", lost.room_sid}:
            return lost.room_sid
        snapshot = await self._snapshot(lost.call)
        written = snapshot is not None and snapshot.stamp.epoch >= errand.epoch
        return lost.room_sid if written else errand.kept_as

    async def _snapshot(self, call: str) -> Snapshot | None:
        """What is kept of the call to go on from."""
        kept = await self._store.get(call)
        return kept.snapshot if kept else None

    async def _agents(self, room: str) -> frozenset[str]:
        return frozenset(each.identity for each in await agents(self._client, room))

    def _agent_of(self, call: str) -> Tethered | None:
        """The call's agent that is tethered now; None if none is."""
        known = self._known(call)
        return known.call if known and not known.loss else None

    async def _tidy(self, sent: _Sent) -> None:
        """Delete the dispatches of the agents that do not have the call, once it is known which has it.

        If another keeper leads as well, or LiveKit has run the first dispatch again, there may be one more that was
        sent, and each of the two finds out which of them leaves, see `call.fence`. Were the other one's dispatch
        deleted meanwhile, which ends it, the caller might be alone.
        """
        call, deadline = sent.call, time.monotonic() + TETHERED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            agent = self._agent_of(call.call)
            if agent is None:
                # Tethered elsewhere: then it is not known which dispatch brought it. Or lost again.
                known = self._known(call.call)
                if known is not None and known.call.dispatch_id in sent.dispatches:
                    idle = sent.dispatches - {known.call.dispatch_id}
                    await asyncio.gather(*(delete_dispatch(self._client, each, call.room) for each in idle))
                return
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    rivals = await self._rivals(call, agent, sent.before)
                    called = await self._called_by(call)
            except API_ERRORS as error:
                logger.info("who is in room %s is not known: %s", call.room, str(error) or type(error).__name__)
            else:
                if not rivals:
                    used_up = ({call.dispatch_id} | sent.dispatches | called) - {agent.dispatch_id}
                    await asyncio.gather(*(delete_dispatch(self._client, each, call.room) for each in used_up))
                    return
            await asyncio.sleep(_POLL_SECONDS)
        logger.warning("call %s has several agents in its room; their dispatches stay", call.call)

    async def _called_by(self, call: Tethered) -> frozenset[str]:
        """The dispatches by which the lost agent of `call` called successors in vain, and did not live to delete.

        Who has come by one deletes it itself, unless it goes on.
        """
        if not call.agent_identity:
            return frozenset()
        made = await self._client.agent_dispatch.list_dispatch(call.room)
        errands = ((each.id, read(each.metadata)) for each in made if not each.state.jobs)
        return frozenset(name for name, errand in errands if errand and errand.predecessor == call.agent_identity)

    async def _rivals(self, call: Tethered, agent: Tethered, before: frozenset[str]) -> bool:
        """Whether another agent in the room has the call, or may be about to, so that `agent` may leave for it."""
        for each in await agents(self._client, call.room):
            if each.identity in {agent.agent_identity, call.agent_identity}:
                continue
            epoch = epoch_told(each.attributes, call.caller)
            if epoch is None and (each.identity in before or serves(each.attributes)):
                continue
            if epoch is None or epoch >= agent.epoch:
                return True
        return False


def _pause(waited: float) -> float:
    """Until the next look at a room whose caller is away for so long."""
    return _POLL_SECONDS if waited < RETURNS_WITHIN_SECONDS else _LOOK_SECONDS
