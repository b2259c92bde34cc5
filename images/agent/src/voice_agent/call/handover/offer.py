"""The old agent's side: call a successor, serve on until it is there, give it the call at a turn boundary."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

from livekit import api
from livekit.agents.utils.aio import cancel_and_wait

from voice_agent.call import entrance
from voice_agent.call.absence import RETURNS_WITHIN_SECONDS, participant_in
from voice_agent.call.control import Deadline, Result
from voice_agent.call.errand import Errand, Kind, write
from voice_agent.call.handover import boundary, calm
from voice_agent.call.handover.successor import (
    ALIVE_WITHIN_PATIENT_SECONDS,
    HeirError,
    NoSuccessorError,
    Successor,
)
from voice_agent.call.handover.wire import STATE_TOPIC, State
from voice_agent.call.live import Call, path_of
from voice_agent.call.people import API_ERRORS
from voice_agent.call.snapshot import Snapshot
from voice_agent.telemetry.traces import tracer

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
# A successor that lives answers in some ten milliseconds.
ALIVE_WITHIN_SECONDS = 1.5
ANSWERED_AFTER_SECONDS = 0.2
LAST_WORDS_SECONDS = 3.0
STOPPED_WITHIN_SECONDS = 0.5
PAUSE_SECONDS = 0.5


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
                except HeirError as reason:
                    # This one hears so by its tether and in the room, and leaves.
                    logger.warning("the handover is over: %s", reason)
                    return
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
        self._successor = Successor(call, called.keys())

    async def run(self) -> None:
        successor, called = self._successor, self._called
        async with successor.answering(), self._processor.looking():
            try:
                nonce = successor.nonce
                called[nonce] = dispatch = await self._dispatch(nonce)
                await self._until_assigned(dispatch)
                await successor.until(successor.met, MET_WITHIN_SECONDS, "it did not come")
                logger.info("successor met", extra={"successor": successor.identity})
                self._on_met()
                await _withdraw(self._call, called, called.keys() - {successor.nonce})
                await successor.until(successor.asked, MET_WITHIN_SECONDS, "it did not get ready")
                await self._give()
            except UnassignedError:
                await _withdraw(self._call, called, list(called)[:-DISPATCHES])
                raise
            except NoSuccessorError:
                if await successor.remove():
                    await _withdraw(self._call, called, called.keys() & {successor.nonce})
                called.pop(successor.nonce, None)
                raise

    async def _give(self) -> None:
        await self._boundary()
        began = time.monotonic()
        entering = False
        try:
            await self._call.hold()
            cut_off = await self._last_words()
            # Once more: with what the caller has said, and functions have returned since.
            snapshot = self._call.snapshot(await self._call.hold())
            if entering := self._call.entering:
                # Not here and there at once.
                entrance.stop(self._call.session)
            await self._send(snapshot, cut_off=cut_off)
            self._successor.give()
            await self._successor.until_taken()
        except NoSuccessorError:
            await self._carry_on(entering=entering)
            raise
        except Exception as error:
            # The successor waits for it; and what failed here once must not cost the call.
            self._successor.give_nothing()
            await self._carry_on(entering=entering)
            logger.exception("the state was not sent")
            raise NoSuccessorError("the state was not sent") from error
        logger.info(
            "call handed over to %s in %.2f s",
            self._successor.identity,
            time.monotonic() - began,
            extra={"epoch": self._epoch},
        )
        # Whatever it still waits for, or would say at times.
        entrance.stop(self._call.session)
        # Our answer to `taken` must be out before we leave.
        await asyncio.sleep(ANSWERED_AFTER_SECONDS)

    async def _boundary(self) -> None:
        """Wait for the turn boundary, and see that the successor still lives: from then on nobody else answers.

        One at which either agent is starved of a processor is passed over, while there is the time.
        """
        began, gone = time.monotonic(), self._successor.gone

        def patient() -> bool:
            return time.monotonic() - began < calm.patience(self._deadline.left)

        while True:
            await boundary.until(self._call, self._deadline, gone, lambda: patient() and self._processor.starved)
            if gone.is_set():
                raise NoSuccessorError("it left while we waited for the turn's end")
            if self._deadline.passed:
                # A starved one would be late to answer, and without keepers the call be lost.
                return
            within = ALIVE_WITHIN_PATIENT_SECONDS if calm.patience(self._deadline.left) else ALIVE_WITHIN_SECONDS
            condition = await self._successor.condition(within)
            if condition is None:
                raise NoSuccessorError("it does not answer any more")
            if path_of(self._call.agent) != self._successor.agent:
                raise NoSuccessorError("it was made for an agent that is not active any more")
            if patient() and (condition.starved or self._processor.starved):
                await asyncio.sleep(calm.POLL_SECONDS)
            elif boundary.is_now(self._call):
                return

    async def _carry_on(self, *, entering: bool) -> None:
        # It may only be slow: without this both would speak.
        await self._successor.remove()
        await self._call.resume()
        if entering:
            entrance.make_up(self._call.session)

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

    async def _send(self, snapshot: Snapshot, *, cut_off: bool) -> None:
        call = snapshot.call.model_copy(update={"epoch": self._epoch})
        snapshot = snapshot.model_copy(update={"call": call, "agent_speaking": cut_off})
        recorded_until = snapshot.model.recorded_until
        silent_for = time.time() - recorded_until if recorded_until else 0.0
        state = State(snapshot=snapshot.encode(), silent_for=silent_for).model_dump_json().encode()
        writer = await self._room.local_participant.stream_bytes(
            self._successor.nonce,
            total_size=len(state),
            topic=STATE_TOPIC,
            destination_identities=[self._successor.identity],
        )
        await writer.write(state)
        await writer.aclose()

    @property
    def _epoch(self) -> int:
        return self._call.identity.epoch + 1

    async def _dispatch(self, nonce: str) -> api.AgentDispatch:
        context = self._call.context
        errand = Errand(
            kind=Kind.HANDOVER,
            caller=self._call.identity.caller,
            epoch=self._epoch,
            predecessor=self._room.local_participant.identity,
            job_metadata=self._call.identity.job_metadata,
            nonce=nonce,
        )
        request = api.CreateAgentDispatchRequest(
            agent_name=context.job.agent_name, room=self._room.name, metadata=write(errand)
        )
        try:
            return await context.api.agent_dispatch.create_dispatch(request)
        except API_ERRORS as error:
            raise NoSuccessorError(f"LiveKit took no dispatch: {error}") from error

    async def _until_assigned(self, dispatch: api.AgentDispatch) -> None:
        async def assigned() -> None:
            while not self._successor.met.is_set():
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
        # It may have come while LiveKit was asked.
        if not await self._successor.has_come():
            raise UnassignedError("no pod has a free slot")
