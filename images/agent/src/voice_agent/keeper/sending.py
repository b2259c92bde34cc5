"""An agent is sent to a call that has lost its own: dispatches, until one has brought an agent that has the call."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from livekit import api

from voice_agent.call.errand import Errand, write
from voice_agent.call.fence import epoch_told
from voice_agent.call.people import API_ERRORS, agents
from voice_agent.keeper.fleet import Known
from voice_agent.keeper.ports import Leadership
from voice_agent.tether.wire import Tethered

logger = logging.getLogger(__name__)

# A dispatch that finds no worker at once never finds one (livekit-server 1.13.5): it must be made again.
ASSIGNED_WITHIN_SECONDS = 2.0
# Of a pod that is gone for good the others answer at once, but one may be full for a moment: with the successor of a
# handover that the death cut off, which may yet leave.
_DISPATCHES_AT_ONCE = 2
# Where one worker in two never answers, six dispatches miss the other in 2 % of all cases. Each that does costs the
# caller its share of the time; a job is told of some 0.2 s after its dispatch.
_DISPATCHES_AT_ONCE_IF_SILENT = 6
# The successor may have to start a process (3 s on an idle core, several times that on a starved one).
TETHERED_WITHIN_SECONDS = 20.0
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 2.0


class NoAgentError(Exception):
    """No agent came; the message says at which step."""


class Sending:
    """Sends one agent to one call.

    Args:
        client: LiveKit's API.
        known: what is known of a call, see `Recovery`.
        leadership: looked at before every dispatch.
        call: the lost one, with the name by which an agent is asked for.
        errand: which the agent is sent on.
        before: agents in the room that are not the one that is sent, such as the successor of a handover that was
            under way; it goes on with a higher epoch, see `Watcher.recovers`, or leaves.
    """

    def __init__(
        self,
        client: api.LiveKitAPI,
        known: Callable[[str], Known | None],
        leadership: Leadership,
        call: Tethered,
        errand: Errand,
        before: frozenset[str],
    ) -> None:
        self._client = client
        self._known = known
        self._leadership = leadership
        self._call = call
        self._errand = errand
        self._before = before
        self._dispatches: list[str] = []

    async def run(self, *, silent: bool) -> frozenset[str]:
        """Send an agent; returns the dispatches that were made for it, once it has the call.

        Args:
            silent: see `Recovery.run`. Several dispatches may wait for a worker's answer at the same time, and then
                more. Of two agents that come, the second finds the first in the room, and leaves.

        Raises:
            NoAgentError: none came; nor will one by these dispatches, which are deleted.
            API_ERRORS: LiveKit does not answer; so too.
        """
        try:
            try:
                await self._until_assigned(_DISPATCHES_AT_ONCE_IF_SILENT if silent else _DISPATCHES_AT_ONCE)
                await self._until_tethered()
            except (NoAgentError, *API_ERRORS):
                # It may be there all the same, and deleting its dispatch would end it.
                if not self._dispatches or not (self._has_come() or await self._serves()):
                    raise
        except BaseException:
            # At the end of our patience, and of the keeper, too: it would bring an agent too many.
            if not self._has_come():
                deleting = (delete_dispatch(self._client, each, self._call.room) for each in self._dispatches)
                await asyncio.shield(asyncio.gather(*deleting))
            raise
        return frozenset(self._dispatches)

    async def _until_assigned(self, at_once: int) -> None:
        """Make one dispatch after the other until a worker has taken one, or an agent has come."""
        share, enough = ASSIGNED_WITHIN_SECONDS / at_once, asyncio.Event()
        took = await self._dispatch()
        # One task looks for all of them: begun anew for each, it would see no answer that takes longer than a share.
        looking = asyncio.create_task(self._assigned(enough))
        tethered = asyncio.create_task(self._tethered())
        try:
            for _ in range(at_once - 1):
                if await _first_of(looking, tethered, seconds=share):
                    break
                took = await self._dispatch()
            # A LiveKit that is slow to answer may be as slow to find a worker.
            await _first_of(looking, tethered, seconds=max(share, took))
            enough.set()
            if tethered not in await _first_of(looking, tethered) and not await looking:
                raise NoAgentError("no pod has a free slot")
        finally:
            looking.cancel()
            tethered.cancel()
            await asyncio.gather(looking, tethered, return_exceptions=True)

    async def _dispatch(self) -> float:
        """Make one; returns how many seconds LiveKit took to answer."""
        if not self._leadership.leading:
            raise NoAgentError("another keeper leads")
        call, began = self._call, time.monotonic()
        metadata = write(self._errand)
        request = api.CreateAgentDispatchRequest(agent_name=call.agent_name, room=call.room, metadata=metadata)
        self._dispatches.append((await self._client.agent_dispatch.create_dispatch(request)).id)
        return time.monotonic() - began

    async def _assigned(self, enough: asyncio.Event) -> bool:
        """Look until a job is seen, or the agent itself: LiveKit does not always tell of the job at once.

        Returns:
            False once a look has seen neither that was begun after `enough` was set: the answer to an earlier one may
            be late, and tell how it was.
        """
        while True:
            last = enough.is_set()
            try:
                if await self._sees_one():
                    return True
            except API_ERRORS as error:
                # An agent may be on its way all the same, and would be ended.
                if last:
                    raise
                logger.info("whether an agent comes is not known: %s", str(error) or type(error).__name__)
            if last:
                return False
            await asyncio.sleep(_POLL_SECONDS)

    async def _sees_one(self) -> bool:
        room, asked = self._call.room, self._client.agent_dispatch.get_dispatch
        # At once, so that a look takes one answer's time however many dispatches there are.
        people, found = await asyncio.gather(
            agents(self._client, room), asyncio.gather(*(asked(dispatch, room) for dispatch in self._dispatches))
        )
        came = any(each.identity not in self._before for each in people)
        return came or any(each is not None and each.state.jobs for each in found)

    async def _until_tethered(self) -> None:
        try:
            async with asyncio.timeout(TETHERED_WITHIN_SECONDS):
                await self._tethered()
        except TimeoutError:
            raise NoAgentError("the agent that was sent is silent") from None

    async def _tethered(self) -> None:
        while not self._has_come():  # noqa: ASYNC110 - for a moment
            await asyncio.sleep(_POLL_SECONDS)

    def _has_come(self) -> bool:
        """Whether the agent was tethered, or one with a higher epoch: that LiveKit has sent by itself.

        One that was lost at once is a loss of its own, and need not be waited for.
        """
        known = self._known(self._call.call)
        return known is not None and known.call.epoch >= self._errand.epoch

    async def _serves(self) -> bool:
        """Whether an agent in the room says that it has the call.

        One of another cluster is tethered to that one's keepers; and this keeper may be cut off from the pods.
        """
        call = self._call
        try:
            people = await agents(self._client, call.room)
        except API_ERRORS:
            # Were a failed look taken for a no, the agent would be ended.
            await asyncio.sleep(_LOOK_SECONDS)
            people = await agents(self._client, call.room)
        return any((epoch_told(each.attributes, call.caller) or 0) >= self._errand.epoch for each in people)


async def _first_of(*tasks: asyncio.Task[Any], seconds: float | None = None) -> set[asyncio.Task[Any]]:
    """Those that are done as soon as one is, or after so many seconds."""
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    return done


async def delete_dispatch(client: api.LiveKitAPI, dispatch: str, room: str) -> None:
    """Else it would bring an agent too many if the room were made anew."""
    if not dispatch:
        return
    try:
        await client.agent_dispatch.delete_dispatch(dispatch, room)
    except API_ERRORS as error:
        logger.warning("dispatch %s could not be deleted: %s", dispatch, error)
