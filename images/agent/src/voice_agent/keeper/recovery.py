"""One call's recovery: the agent that is gone is fenced, and another is sent to its caller."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum

import aiohttp
from livekit import api
from livekit.protocol import models

from voice_agent.call.absence import RETURNS_WITHIN_SECONDS
from voice_agent.call.errand import Errand, Kind, read, write
from voice_agent.call.fence import epoch_told, serves
from voice_agent.keeper.fleet import Known
from voice_agent.keeper.ports import Leadership
from voice_agent.state.store import Store, StoreError
from voice_agent.tether.wire import Tethered

logger = logging.getLogger(__name__)

API_ERRORS = (api.TwirpError, aiohttp.ClientError, TimeoutError)

# A dispatch that finds no worker at once never finds one (livekit-server 1.13.5): it must be made again.
ASSIGNED_WITHIN_SECONDS = 2.0
# Of a pod that is gone for good the others answer at once, but one may be full for a moment: while the successor of a
# handover that the death cut off has not left it yet.
_DISPATCHES_AT_ONCE = 2
# Where one worker in two never answers, four dispatches of half a second each miss the other in 6 % of all cases.
_DISPATCHES_AT_ONCE_IF_SILENT = 4
# The successor may have to start a process (3 s on an idle core, several times that on a starved one).
TETHERED_WITHIN_SECONDS = 20.0
# Then the caller has waited for longer than anybody does.
GIVE_UP_SECONDS = 120.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 5.0
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 2.0
# livekit-server 1.13.5 keeps a room for so long after everybody has left (`departure_timeout`): whoever comes back
# later comes to another room, and to a new conversation.
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
    """What it took to have the call taken up: the dispatches that were made here, and who was in the room before."""

    dispatches: frozenset[str]
    before: frozenset[str]


class _NoAgentError(Exception):
    """No agent came; the message says at which step."""


@contextmanager
def _unless_gone() -> Iterator[None]:
    """Pass over what LiveKit does not know, or knows no more."""
    try:
        yield
    except api.TwirpError as error:
        if error.code != api.TwirpErrorCode.NOT_FOUND:
            raise


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
        self, call: Tethered, recovered: Callable[[], None] = lambda: None, *, silent: bool = False
    ) -> Result:
        """Try until another agent has the call, its caller has left, or too much time has passed.

        Args:
            call: the agent that is gone.
            recovered: called as soon as another agent has the call, before its room is tidied.
            silent: whether its worker may still be registered with LiveKit, which then sends it jobs that it never
                answers: a pod that stands still, a node that is cut off.
        """
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                came = await self._until_one_comes(call, silent=silent)
        except TimeoutError:
            logger.error(  # noqa: TRY400 - each try has told why
                "call %s is given up: its caller waits, and no agent came in %.0f s", call.call, GIVE_UP_SECONDS
            )
            return Result.GIVEN_UP
        if isinstance(came, Result):
            return came
        recovered()
        try:
            await self._tidy(call, came)
        except Exception:
            # The caller has an agent, and a dispatch too many costs less than one too few.
            logger.exception("the dispatches of call %s are not tidied", call.call)
        return Result.RECOVERED

    async def _until_one_comes(self, call: Tethered, *, silent: bool) -> _Sent | Result:
        pause, epoch = _FIRST_PAUSE_SECONDS, call.epoch
        # A fleet that was given another name has pods of the old one only as long as those drain.
        names = itertools.cycle(dict.fromkeys([call.agent_name, self._agent_name or call.agent_name]))
        while self._leadership.leading:
            # One that comes back after another epoch was taken leaves.
            if epoch == call.epoch and self._agent_of(call.call) == call:
                return Result.RETURNED
            try:
                if not await self._caller_waits(call):
                    await self._store.delete(call.call, epoch)
                    return Result.CALLER_LEFT
                # That may have taken long: the lost agent may be back, or one be there that another keeper has sent.
                if not self._leadership.leading:
                    break
                agent = self._agent_of(call.call)
                if agent == call and epoch == call.epoch:
                    return Result.RETURNED
                if agent is not None and agent.epoch > epoch:
                    return _Sent(frozenset(), await self._agents(call.room))
                epoch = await self._store.claim(call.call, above=epoch)
                # The caller hears nothing meanwhile, and LiveKit may be far: what can be asked at once, is.
                _, told, before = await asyncio.gather(
                    self._fence(call, epoch), self._job_metadata(call), self._agents(call.room)
                )
                at_once = _DISPATCHES_AT_ONCE_IF_SILENT if silent else _DISPATCHES_AT_ONCE
                asked = replace(call, agent_name=next(names))
                sent = await self._send_agent(asked, epoch, told, before, at_once=at_once)
            except (_NoAgentError, StoreError, *API_ERRORS) as error:
                logger.warning("call %s has no agent yet: %s", call.call, str(error) or type(error).__name__)
            except Exception:
                logger.exception("call %s has no agent yet", call.call)
            else:
                logger.info("call %s recovered", call.call, extra={"epoch": epoch, "lost_pod": call.pod})
                return _Sent(sent, before)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return Result.LEFT_TO_ANOTHER

    async def _caller_waits(self, call: Tethered) -> bool:
        """Whether the caller is in that very room, or returns to it: a dispatch for a room that is gone creates it."""
        began = time.monotonic()
        while True:
            listed = self._client.room.list_rooms(api.ListRoomsRequest(names=[call.room]))
            rooms, people = await asyncio.gather(listed, self._participants(call.room))
            if all(room.sid != call.room_sid for room in rooms.rooms):
                return False
            if any(p.identity == call.caller and p.kind != models.ParticipantInfo.Kind.AGENT for p in people):
                return True
            waited = time.monotonic() - began
            if waited >= ROOM_STAYS_SECONDS:
                return False
            await asyncio.sleep(_POLL_SECONDS if waited < RETURNS_WITHIN_SECONDS else _LOOK_SECONDS)

    async def _fence(self, call: Tethered, epoch: int) -> None:
        await self._supersede(call.call, epoch)
        if not call.agent_identity:  # no agent ever came
            return
        stale = api.RoomParticipantIdentity(room=call.room, identity=call.agent_identity)
        with _unless_gone():
            await self._client.room.remove_participant(stale)

    async def _send_agent(
        self, call: Tethered, epoch: int, told: str, before: frozenset[str], *, at_once: int
    ) -> frozenset[str]:
        """Send an agent; returns the dispatches that were made for it.

        Args:
            call: the lost one.
            epoch: of the agent.
            told: what the call's first agent was told by its dispatch.
            before: agents in the room that are not the one that is sent, such as the successor of a handover that was
                under way; it finds out, and leaves.
            at_once: how many dispatches may wait for a worker's answer at the same time. Of two agents that come, the
                second finds the first in the room, and leaves.
        """
        errand = Errand(kind=Kind.RECOVERY, caller=call.caller, epoch=epoch, job_metadata=told)
        request = api.CreateAgentDispatchRequest(agent_name=call.agent_name, room=call.room, metadata=write(errand))
        sent: list[str] = []
        try:
            await self._until_assigned(request, sent, before, at_once)
            await self._until_served(call, epoch)
        except BaseException:
            # At the end of our patience, and of the keeper, too: it would bring an agent too many.
            await asyncio.shield(asyncio.gather(*(self._delete_dispatch(each, call.room) for each in sent)))
            raise
        return frozenset(sent)

    async def _until_assigned(
        self, request: api.CreateAgentDispatchRequest, sent: list[str], before: frozenset[str], at_once: int
    ) -> None:
        for _ in range(at_once):
            if not self._leadership.leading:
                raise _NoAgentError("another keeper leads")
            dispatch = await self._client.agent_dispatch.create_dispatch(request)
            sent.append(dispatch.id)
            with suppress(TimeoutError):
                async with asyncio.timeout(ASSIGNED_WITHIN_SECONDS / at_once):
                    await self._assigned(sent, request.room, before)
                return
        raise _NoAgentError("no pod has a free slot")

    async def _until_served(self, call: Tethered, epoch: int) -> None:
        try:
            await self._within(
                TETHERED_WITHIN_SECONDS, self._tethered(call, epoch), "the agent that was sent is silent"
            )
        except _NoAgentError:
            if not await self._serves(call, epoch):
                raise

    async def _job_metadata(self, call: Tethered) -> str:
        """What the call's first agent was told by its dispatch, as far as the lost agent's dispatch knows."""
        if not call.dispatch_id:
            return ""
        dispatch = None
        with _unless_gone():
            dispatch = await self._client.agent_dispatch.get_dispatch(call.dispatch_id, call.room)
        if dispatch is None:
            return ""
        errand = read(dispatch.metadata)
        return errand.job_metadata if errand else dispatch.metadata

    async def _within(self, seconds: float, event: Awaitable[None], failure: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                await event
        except TimeoutError:
            raise _NoAgentError(failure) from None

    async def _assigned(self, dispatches: Sequence[str], room: str, before: frozenset[str]) -> None:
        """Wait until a job is seen, or the agent itself: LiveKit does not always tell of the job at once."""
        while True:
            for dispatch in dispatches:
                found = await self._client.agent_dispatch.get_dispatch(dispatch, room)
                if found is not None and found.state.jobs:
                    return
            if await self._agents(room) - before:
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _agents(self, room: str) -> frozenset[str]:
        people = await self._participants(room)
        return frozenset(each.identity for each in people if each.kind == models.ParticipantInfo.Kind.AGENT)

    async def _participants(self, room: str) -> Sequence[models.ParticipantInfo]:
        answer = api.ListParticipantsResponse()
        with _unless_gone():
            answer = await self._client.room.list_participants(api.ListParticipantsRequest(room=room))
        return list(answer.participants)

    async def _tethered(self, call: Tethered, epoch: int) -> None:
        # A higher one is that of an agent that LiveKit has sent by itself. One that was lost at once is a loss of its
        # own, and need not be waited for.
        while (known := self._known(call.call)) is None or known.call.epoch < epoch:  # noqa: ASYNC110 - for a moment
            await asyncio.sleep(_POLL_SECONDS)

    def _agent_of(self, call: str) -> Tethered | None:
        """The call's agent that is tethered now; None if none is."""
        known = self._known(call)
        return known.call if known and not known.loss else None

    async def _serves(self, call: Tethered, epoch: int) -> bool:
        """Whether an agent in the room says that it has the call.

        One of another cluster is tethered to that one's keepers; and this keeper may be cut off from the pods.
        """
        try:
            people = await self._participants(call.room)
        except API_ERRORS:
            # Were a failed look taken for a no, the agent would be ended.
            await asyncio.sleep(_LOOK_SECONDS)
            people = await self._participants(call.room)
        return any(
            (epoch_told(each.attributes, call.caller) or 0) >= epoch
            for each in people
            if each.kind == models.ParticipantInfo.Kind.AGENT
        )

    async def _tidy(self, call: Tethered, sent: _Sent) -> None:
        """Delete the dispatches of the agents that do not have the call, once it is known which has it.

        If another keeper leads as well, or LiveKit has run the first dispatch again, there may be one more that was
        sent, and each of the two finds out which of them leaves, see `call.fence`. Were the other one's dispatch
        deleted meanwhile, which ends it, the caller might be alone.
        """
        deadline = time.monotonic() + TETHERED_WITHIN_SECONDS
        while time.monotonic() < deadline:
            agent = self._agent_of(call.call)
            if agent is None:
                # Tethered elsewhere: then it is not known which dispatch brought it. Or lost again.
                known = self._known(call.call)
                if known is not None and known.call.dispatch_id in sent.dispatches:
                    idle = sent.dispatches - {known.call.dispatch_id}
                    await asyncio.gather(*(self._delete_dispatch(each, call.room) for each in idle))
                return
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    rivals = await self._rivals(call, agent, sent.before)
            except API_ERRORS as error:
                logger.info("who is in room %s is not known: %s", call.room, str(error) or type(error).__name__)
            else:
                if not rivals:
                    used_up = ({call.dispatch_id} | sent.dispatches) - {agent.dispatch_id}
                    await asyncio.gather(*(self._delete_dispatch(each, call.room) for each in used_up))
                    return
            await asyncio.sleep(_POLL_SECONDS)
        logger.warning("call %s has several agents in its room; their dispatches stay", call.call)

    async def _rivals(self, call: Tethered, agent: Tethered, before: frozenset[str]) -> bool:
        """Whether another agent in the room has the call, or may be about to, so that `agent` may leave for it."""
        for each in await self._participants(call.room):
            if each.kind != models.ParticipantInfo.Kind.AGENT or each.identity in {
                agent.agent_identity,
                call.agent_identity,
            }:
                continue
            epoch = epoch_told(each.attributes, call.caller)
            if epoch is None and (each.identity in before or serves(each.attributes)):
                continue
            if epoch is None or epoch >= agent.epoch:
                return True
        return False

    async def _delete_dispatch(self, dispatch: str, room: str) -> None:
        """Else it would bring an agent too many if the room were made anew."""
        if not dispatch:
            return
        try:
            await self._client.agent_dispatch.delete_dispatch(dispatch, room)
        except API_ERRORS as error:
            logger.warning("dispatch %s could not be deleted: %s", dispatch, error)
