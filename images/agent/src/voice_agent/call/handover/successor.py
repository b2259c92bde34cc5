"""The agent that comes for a call, as the one that serves it sees it: what it asks, and how far it is."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

from livekit import api, rtc
from livekit.agents.utils.aio import cancel_and_wait

from voice_agent.call.fence import epoch_told
from voice_agent.call.handover.wire import (
    MEET,
    TAKE,
    TAKEN,
    Condition,
    Greeting,
    Introduction,
    condition,
    is_agent,
)
from voice_agent.call.live import Call, path_of
from voice_agent.call.people import API_ERRORS, agents
from voice_agent.tether.wire import Ending

logger = logging.getLogger(__name__)

TAKEN_WITHIN_SECONDS = 10.0
# It takes some tenths of a second, and longer where it is starved or Gemini is slow.
ASK_AGAIN_SECONDS = 1.0
# One that lives answers in some ten milliseconds; one that is starved may take longer, while there is time.
ALIVE_WITHIN_PATIENT_SECONDS = 3.0
REMOVE_TIMEOUT_SECONDS = 5.0


class NoSuccessorError(Exception):
    """No other agent took the call; the message says at which step."""


class HeirError(Exception):
    """The call is another agent's already."""


class Successor:
    """Whoever comes for a call first, of those that were called.

    Args:
        call: the call.
        called: the nonces of the dispatches by which it may come, as they are at that moment; besides its own.

    Attributes:
        nonce: of the dispatch that it is called by; once it has come, of the one that it came by.
        identity: its participant's; "" until it has come.
        agent: the class that was active then, `package.module:Class`, which it has made.
        met: set when it has come.
        asked: set when it is ready, and asks for the call.
        gone: set when it has left the room.
    """

    def __init__(self, call: Call, called: Collection[str]) -> None:
        self.nonce = secrets.token_urlsafe(16)
        self.identity = self.agent = ""
        self.met = asyncio.Event()
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self._call = call
        self._room = call.context.room
        self._called = called
        self._meeting = asyncio.Lock()
        self._stated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._taken = asyncio.Event()
        self._refused = self._spared = False

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer it, for as long as the context lasts."""
        participant = self._room.local_participant
        methods = {MEET: self._meet, TAKE: self._take, TAKEN: self._has_taken}
        for name, method in methods.items():
            participant.register_rpc_method(name, method)
        self._room.on("participant_disconnected", self._on_left)
        try:
            yield
        finally:
            self._room.off("participant_disconnected", self._on_left)
            for name in methods:
                participant.unregister_rpc_method(name)

    async def until(self, event: asyncio.Event, seconds: float, failure: str) -> None:
        """Wait for an event of it.

        Raises:
            NoSuccessorError: it left, or the time was up; with `failure` as its message.
        """
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self.gone.wait())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise NoSuccessorError(failure)

    async def has_come(self) -> bool:
        """Whether it is there; if one is being looked at, that is waited for."""
        async with self._meeting:
            return self.met.is_set()

    async def condition(self, within: float) -> Condition | None:
        """How its process fares; None if it does not answer within so many seconds."""
        return await condition(self._room, self.identity, within)

    def give(self) -> None:
        """Answer what it has asked for: the state has been sent to it."""
        self._stated.set_result(None)

    def give_nothing(self) -> None:
        """Answer, if it has no answer yet, that there will be no state."""
        if not self._stated.done():
            self._stated.set_exception(rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "no state"))

    async def until_taken(self) -> None:
        """Wait until it says that it has the call; nobody answers the caller meanwhile.

        Raises:
            NoSuccessorError: it has left, or answers no more, or takes too long.
        """
        until = time.monotonic() + TAKEN_WITHIN_SECONDS
        while not self._taken.is_set():
            try:
                await self.until(self._taken, ASK_AGAIN_SECONDS, "it did not say that it has the call")
            except NoSuccessorError:
                left = until - time.monotonic()
                if self.gone.is_set() or left <= 0:
                    raise
                lives = await self._takes_or_lives(min(ALIVE_WITHIN_PATIENT_SECONDS, left))
                if not lives and not self._taken.is_set():
                    raise

    async def remove(self) -> bool:
        """Let it have the call no more, and remove it from the room, unless this agent is out of that itself.

        Returns:
            False if it was left alone: this agent may have been taken for dead and removed, and the other go on.

        Raises:
            HeirError: it does.
        """
        done, self._refused = self._refused, True
        if done or not self.identity or self.gone.is_set():
            return not self._spared
        identity = api.RoomParticipantIdentity(room=self._room.name, identity=self.identity)
        try:
            async with asyncio.timeout(REMOVE_TIMEOUT_SECONDS):
                if await self._has_call():
                    await self._call.context.api.room.remove_participant(identity)
                else:
                    self._spared = True
                    self.give_nothing()
        except API_ERRORS as error:
            logger.warning("the successor could not be removed: %s", error)
        return not self._spared

    async def _has_call(self) -> bool:
        """Whether this agent is in the room; to a client that is out of it, since it stood still, all looks as before.

        Raises:
            HeirError: another agent has the call since.
            API_ERRORS: LiveKit does not tell.
        """
        there, call = await agents(self._call.context.api, self._room.name), self._call.identity
        if any((epoch_told(each.attributes, call.caller) or 0) > call.epoch for each in there):
            raise HeirError("another agent has the call")
        return any(each.identity == self._room.local_participant.identity for each in there)

    async def _takes_or_lives(self, seconds: float) -> bool:
        """Whether it says, within `seconds`, that it has the call or at least that it lives."""
        living = asyncio.ensure_future(self.condition(seconds))
        taking = asyncio.ensure_future(self._taken.wait())
        try:
            await asyncio.wait({living, taking}, return_when=asyncio.FIRST_COMPLETED)
            return self._taken.is_set() or living.result() is not None
        finally:
            await cancel_and_wait(living, taking)

    async def _meet(self, request: rtc.RpcInvocationData) -> str:
        async with self._meeting:
            # It may be quicker than LiveKit's answer to our dispatch.
            await self._check(request, {self.nonce, *self._called})
            if self.met.is_set():
                raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "another one was first")
            self.nonce = _nonce(request)
            self.identity, self.agent = request.caller_identity, path_of(self._call.agent)
            self.met.set()
        introduction = Introduction(
            call=self._call.identity, agent=self.agent, dispatch=self._call.context.job.dispatch_id
        )
        return introduction.model_dump_json()

    async def _take(self, request: rtc.RpcInvocationData) -> str:
        await self._check(request, {self.nonce}, self.identity)
        self.asked.set()
        await asyncio.shield(self._stated)
        return ""

    async def _has_taken(self, request: rtc.RpcInvocationData) -> str:
        await self._check(request, {self.nonce}, self.identity)
        if self._refused:
            # It is being removed: if it went on, the other agent would leave to it, and nobody have the call.
            raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "too late")
        # At once: what it says next, that it has the call, would else have this agent leave as a superseded one.
        self._call.ending = Ending.HANDED_OVER
        self._taken.set()
        return ""

    async def _check(self, request: rtc.RpcInvocationData, nonces: Collection[str], only: str | None = None) -> None:
        known = any(hmac.compare_digest(_nonce(request), nonce) for nonce in nonces)
        expected = only is None or request.caller_identity == only
        if not (known and expected and await is_agent(self._room, request.caller_identity)):
            logger.warning("a participant that is not the successor asked for the call; refused")
            raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "not the successor")

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        if participant.identity == self.identity:
            self.gone.set()


def _nonce(request: rtc.RpcInvocationData) -> str:
    return Greeting.model_validate_json(request.payload).nonce
