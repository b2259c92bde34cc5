"""The old agent's side: call a successor, serve on until it is there, give it the call at a turn boundary."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress

import aiohttp
from livekit import api, rtc
from livekit.agents.utils.aio import cancel_and_wait

from voice_agent.call.absence import RETURNS_WITHIN_SECONDS, participant_in
from voice_agent.call.control import Deadline, Result
from voice_agent.call.errand import Errand, Kind, write
from voice_agent.call.handover import boundary, calm
from voice_agent.call.handover.wire import (
    MEET,
    STATE_TOPIC,
    TAKE,
    TAKEN,
    Greeting,
    Introduction,
    State,
    condition,
    is_agent,
)
from voice_agent.call.live import Call, path_of
from voice_agent.gemini import ModelCheckpoint
from voice_agent.telemetry.traces import tracer
from voice_agent.tether.wire import Ending

logger = logging.getLogger(__name__)

# A dispatch that finds no worker at once never finds one (livekit-server 1.13.5): it must be made again.
ASSIGNED_WITHIN_SECONDS = 2.5
# While this process is starved, so may those be that it waits for: an agent that is called in vain takes the
# processors that the one on its way needs.
STARVED_TIMES = 3
# A starved server tells of a job seconds after a worker has taken it: who comes by an earlier dispatch is as welcome.
DISPATCHES = 3
# A successor without a warm process starts one (3 s on an idle core, several times that on a starved one).
MET_WITHIN_SECONDS = 30.0
TAKEN_WITHIN_SECONDS = 10.0
# It takes some tenths of a second, and longer where it is starved or Gemini is slow.
ASK_AGAIN_SECONDS = 1.0
# A successor that lives answers in some ten milliseconds; one that is starved may take longer, while there is time.
ALIVE_WITHIN_SECONDS = 1.5
ALIVE_WITHIN_PATIENT_SECONDS = 3.0
ANSWERED_AFTER_SECONDS = 0.2
LAST_WORDS_SECONDS = 3.0
STOPPED_WITHIN_SECONDS = 0.5
REMOVE_TIMEOUT_SECONDS = 5.0
PAUSE_SECONDS = 0.5

API_ERRORS = (api.TwirpError, aiohttp.ClientError, TimeoutError)


class NoSuccessorError(Exception):
    """No other agent took the call; the message says at which step."""


class UnassignedError(NoSuccessorError):
    """No pod was seen to take the dispatch."""


class Offer:
    """One call that is offered to other pods until one takes it, or time is up.

    Args:
        call: the call.
        met: called when a successor has come, which the call may then be kept for a little longer.
    """

    def __init__(self, call: Call, met: Callable[[], None]) -> None:
        self._call = call
        self._met = met
        self._called: dict[str, api.AgentDispatch] = {}

    async def hand_over(self, deadline: Deadline) -> AsyncIterator[Result]:
        """Try until another agent has taken the call, or `deadline` comes; until then this one serves it.

        A successor that is there by then is no longer made to wait for the boundary. While the caller is away, none is
        called.
        """
        with tracer.start_as_current_span("handover") as span:
            attempts = 0
            while not deadline.passed:
                if not await self._caller_is_there(deadline):
                    logger.info("the caller is away: no successor is called")
                    continue
                attempts += 1
                span.set_attribute("voice_agent.handover.attempts", attempts)
                try:
                    await _Attempt(self._call, deadline, self._called, self._met).run()
                except Exception as reason:
                    expected = isinstance(reason, NoSuccessorError)
                    logger.warning(
                        "no successor yet, the call goes on here: %s", reason, exc_info=None if expected else reason
                    )
                    yield Result.FAILED
                    if not isinstance(reason, UnassignedError):
                        # A broken API must not be asked in a loop.
                        await asyncio.sleep(PAUSE_SECONDS)
                else:
                    yield Result.TAKEN
                    return
        logger.error("no successor took the call in time")
        yield Result.GIVEN_UP
        await _withdraw(self._call, self._called, self._called)

    async def _caller_is_there(self, deadline: Deadline) -> bool:
        """Whether the caller is in the room, or back in time: a dispatch for a room that is gone would make it anew."""
        within = min(deadline.left, RETURNS_WITHIN_SECONDS)
        return await participant_in(self._call.context.room, self._call.identity.caller, within) is not None


async def _withdraw(call: Call, called: dict[str, api.AgentDispatch], nonces: Iterable[str]) -> None:
    """Take dispatches out of `called` and delete them; they would start again with the next room of this name."""
    for dispatch in [called.pop(nonce) for nonce in list(nonces)]:
        try:
            await call.context.api.agent_dispatch.delete_dispatch(dispatch.id, call.context.room.name)
        except API_ERRORS as error:
            logger.warning("a dispatch without a taker could not be deleted: %s", error)


class _Attempt:
    """One dispatch, and what follows if a successor comes by it, or by an earlier one that nobody was seen to take.

    Args:
        call: the call.
        deadline: see `Offer.hand_over`.
        called: the dispatches by which a successor may come, by nonce.
        on_met: see `Offer`.
    """

    def __init__(
        self, call: Call, deadline: Deadline, called: dict[str, api.AgentDispatch], on_met: Callable[[], None]
    ) -> None:
        self._call = call
        self._room = call.context.room
        self._deadline = deadline
        self._called = called
        self._on_met = on_met
        self._processor = calm.Watch()
        self._nonce = secrets.token_urlsafe(16)
        self._successor = ""
        self._meeting = asyncio.Lock()
        self._met = asyncio.Event()
        self._asked = asyncio.Event()
        self._stated: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._taken = asyncio.Event()
        self._kept = False
        self._gone = asyncio.Event()

    async def run(self) -> None:
        async with self._answering(), self._processor.looking():
            try:
                nonce = self._nonce
                self._called[nonce] = dispatch = await self._dispatch(nonce)
                await self._until_assigned(dispatch)
                await self._until(self._met, MET_WITHIN_SECONDS, "it did not come")
                logger.info("successor met", extra={"successor": self._successor})
                self._on_met()
                await _withdraw(self._call, self._called, self._called.keys() - {self._nonce})
                await self._until(self._asked, MET_WITHIN_SECONDS, "it did not get ready")
                await self._give()
            except UnassignedError:
                await _withdraw(self._call, self._called, list(self._called)[:-DISPATCHES])
                raise
            except NoSuccessorError:
                await _withdraw(self._call, self._called, self._called.keys() & {self._nonce})
                raise

    async def _give(self) -> None:
        await self._boundary()
        began = time.monotonic()
        try:
            await self._call.hold()
            cut_off = await self._last_words()
            # Once more: with what the caller has said, and functions have returned since.
            await self._send(await self._call.hold(), cut_off=cut_off)
            self._stated.set_result(None)
            await self._until_taken()
        except NoSuccessorError:
            await self._carry_on()
            raise
        except Exception as error:
            # The successor waits for it; and what failed here once must not cost the call.
            self._stated.set_exception(rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "no state"))
            await self._carry_on()
            logger.exception("the state was not sent")
            raise NoSuccessorError("the state was not sent") from error
        logger.info(
            "call handed over to %s in %.2f s", self._successor, time.monotonic() - began, extra={"epoch": self._epoch}
        )

        # Our answer to `taken` must be out before we leave.
        await asyncio.sleep(ANSWERED_AFTER_SECONDS)

    async def _boundary(self) -> None:
        """Wait for the turn boundary, and see that the successor still lives: from then on nobody else answers.

        One at which either agent is starved of a processor is passed over, while there is the time.
        """
        began = time.monotonic()

        def patient() -> bool:
            return time.monotonic() - began < calm.patience(self._deadline.left)

        while True:
            await boundary.until(self._call, self._deadline, self._gone, lambda: patient() and self._processor.starved)
            if self._gone.is_set():
                raise NoSuccessorError("it left while we waited for the turn's end")
            if self._deadline.passed:
                # A starved one would be late to answer, and without keepers the call be lost.
                return
            within = ALIVE_WITHIN_PATIENT_SECONDS if calm.patience(self._deadline.left) else ALIVE_WITHIN_SECONDS
            successor = await condition(self._room, self._successor, within)
            if successor is None:
                await self._remove_successor()
                raise NoSuccessorError("it does not answer any more")
            if patient() and (successor.starved or self._processor.starved):
                await asyncio.sleep(calm.POLL_SECONDS)
            elif boundary.is_now(self._call):
                return

    async def _until_taken(self) -> None:
        """Wait until the successor says that it has the call; nobody answers the caller meanwhile."""
        until = time.monotonic() + TAKEN_WITHIN_SECONDS
        while not self._taken.is_set():
            try:
                await self._until(self._taken, ASK_AGAIN_SECONDS, "it did not say that it has the call")
            except NoSuccessorError:
                left = until - time.monotonic()
                if self._gone.is_set() or left <= 0:
                    raise
                if not await self._takes_or_lives(min(ALIVE_WITHIN_PATIENT_SECONDS, left)):
                    raise

    async def _takes_or_lives(self, seconds: float) -> bool:
        """Whether the successor says, within `seconds`, that it has the call or at least that it lives."""
        living = asyncio.ensure_future(condition(self._room, self._successor, seconds))
        taking = asyncio.ensure_future(self._taken.wait())
        try:
            await asyncio.wait({living, taking}, return_when=asyncio.FIRST_COMPLETED)
            return self._taken.is_set() or living.result() is not None
        finally:
            await cancel_and_wait(living, taking)

    async def _carry_on(self) -> None:
        self._kept = True
        # It may only be slow: without this both would speak.
        await self._remove_successor()
        await self._call.resume()

    async def _last_words(self) -> bool:
        """At a forced handover, have what has come of an answer played and functions end; meanwhile nobody answers.

        Returns:
            Whether an answer was cut off for want of time. If the caller speaks, it is ended and needs no end.
        """
        call, until = self._call, time.monotonic() + LAST_WORDS_SECONDS
        while time.monotonic() < until and (  # noqa: ASYNC110 - none of the three tells of its changes
            call.runs_functions or (call.agent_speaking and not call.caller_speaking)
        ):
            await asyncio.sleep(boundary.POLL_SECONDS)
        if not call.agent_speaking:
            return False
        cut_off = not call.caller_speaking
        if speech := call.session.current_speech:
            speech.interrupt(force=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(STOPPED_WITHIN_SECONDS):
                    await speech.wait_for_playout()
        return cut_off

    async def _send(self, model: ModelCheckpoint, *, cut_off: bool) -> None:
        snapshot = self._call.snapshot(model)
        call = snapshot.call.model_copy(update={"epoch": self._epoch})
        snapshot = snapshot.model_copy(update={"call": call, "agent_speaking": cut_off})
        silent_for = time.time() - model.recorded_until if model.recorded_until else 0.0
        state = State(snapshot=snapshot.encode(), silent_for=silent_for).model_dump_json().encode()
        writer = await self._room.local_participant.stream_bytes(
            self._nonce, total_size=len(state), topic=STATE_TOPIC, destination_identities=[self._successor]
        )
        await writer.write(state)
        await writer.aclose()

    @property
    def _epoch(self) -> int:
        return self._call.identity.epoch + 1

    @asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        participant = self._room.local_participant

        async def meet(request: rtc.RpcInvocationData) -> str:
            async with self._meeting:
                await self._check(request)
                if self._met.is_set():
                    raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "another one was first")
                self._nonce = _nonce(request)
                self._successor = request.caller_identity
                self._met.set()
            introduction = Introduction(
                call=self._call.identity,
                agent=path_of(self._call.agent),
                dispatch=self._call.context.job.dispatch_id,
            )
            return introduction.model_dump_json()

        async def take(request: rtc.RpcInvocationData) -> str:
            await self._check(request, self._successor)
            self._asked.set()
            await asyncio.shield(self._stated)
            return ""

        async def taken(request: rtc.RpcInvocationData) -> str:
            await self._check(request, self._successor)
            if self._kept:
                # It is being removed: if it went on, this agent would leave to it, and nobody have the call.
                raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "too late")
            # At once: what it says next, that it has the call, would else have this agent leave as a superseded one.
            self._call.ending = Ending.HANDED_OVER
            self._taken.set()
            return ""

        def left(participant: rtc.RemoteParticipant) -> None:
            if participant.identity == self._successor:
                self._gone.set()

        methods = {MEET: meet, TAKE: take, TAKEN: taken}
        for name, method in methods.items():
            participant.register_rpc_method(name, method)
        self._room.on("participant_disconnected", left)
        try:
            yield
        finally:
            self._room.off("participant_disconnected", left)
            for name in methods:
                participant.unregister_rpc_method(name)

    async def _check(self, request: rtc.RpcInvocationData, only: str | None = None) -> None:
        # A successor may be quicker than LiveKit's answer to our dispatch.
        nonces = {self._nonce, *self._called} if only is None else {self._nonce}
        known = any(hmac.compare_digest(_nonce(request), nonce) for nonce in nonces)
        expected = only is None or request.caller_identity == only
        if not (known and expected and await is_agent(self._room, request.caller_identity)):
            logger.warning("a participant that is not the successor asked for the call; refused")
            raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "not the successor")

    async def _dispatch(self, nonce: str) -> api.AgentDispatch:
        context = self._call.context
        errand = Errand(
            kind=Kind.HANDOVER,
            caller=self._call.identity.caller,
            epoch=self._epoch,
            predecessor=self._room.local_participant.identity,
            nonce=nonce,
        )
        request = api.CreateAgentDispatchRequest(
            agent_name=context.job.agent_name, room=self._room.name, metadata=write(errand)
        )
        try:
            return await context.api.agent_dispatch.create_dispatch(request)
        except API_ERRORS as error:
            raise NoSuccessorError(f"LiveKit took no dispatch: {error}") from error

    async def _remove_successor(self) -> None:
        if not self._successor or self._gone.is_set():
            return
        identity = api.RoomParticipantIdentity(room=self._room.name, identity=self._successor)
        try:
            async with asyncio.timeout(REMOVE_TIMEOUT_SECONDS):
                await self._call.context.api.room.remove_participant(identity)
        except API_ERRORS as error:
            logger.warning("the successor could not be removed: %s", error)

    async def _until_assigned(self, dispatch: api.AgentDispatch) -> None:
        async def assigned() -> None:
            while not self._met.is_set():
                found = await self._call.context.api.agent_dispatch.get_dispatch(dispatch.id, self._room.name)
                if found is not None and found.state.jobs:
                    return
                await asyncio.sleep(0.2)

        looking = asyncio.create_task(assigned())
        try:
            for _ in range(STARVED_TIMES):
                await asyncio.wait([looking], timeout=ASSIGNED_WITHIN_SECONDS)
                if looking.done() or not self._processor.starved:
                    break
            if looking.done():
                looking.result()
                return
        except API_ERRORS as error:
            raise NoSuccessorError(f"LiveKit does not tell of the dispatch: {error}") from error
        finally:
            await cancel_and_wait(looking)
        # It may have come while LiveKit was asked; who is being looked at now would else be met by nobody.
        async with self._meeting:
            if not self._met.is_set():
                raise UnassignedError("no pod has a free slot")

    async def _until(self, event: asyncio.Event, seconds: float, failure: str) -> None:
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._gone.wait())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if not event.is_set():
            raise NoSuccessorError(failure)


def _nonce(request: rtc.RpcInvocationData) -> str:
    return Greeting.model_validate_json(request.payload).nonce
