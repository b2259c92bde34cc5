"""One call: the agent joins the room, talks with the caller, and leaves with them or when another takes over."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from livekit import rtc
from livekit.agents import Agent, JobContext
from livekit.agents.utils.aio import cancel_and_wait
from opentelemetry import trace
from opentelemetry.trace import Span

from voice_agent.call import control, entrance, recovery
from voice_agent.call import errand as errands
from voice_agent.call.absence import caller_in
from voice_agent.call.control import Restored
from voice_agent.call.errand import Errand, Kind
from voice_agent.call.fence import Fence, holder
from voice_agent.call.handover.successor import TAKEN_WITHIN_SECONDS
from voice_agent.call.handover.take import GoneError, TakeError, Taking
from voice_agent.call.handover.wire import departure
from voice_agent.call.keeping import Keeping
from voice_agent.call.live import Call, path_of
from voice_agent.call.people import API_ERRORS
from voice_agent.call.process import prepared
from voice_agent.call.serving import agent_at, agent_session, announce, answer_for, describe, talk, tether
from voice_agent.call.snapshot import CallIdentity, Snapshot, SnapshotError, Unusable
from voice_agent.gemini import CONNECT_TIMEOUT_SECONDS, ResumableSession
from voice_agent.telemetry import metrics
from voice_agent.telemetry.traces import tracer
from voice_agent.tether.wire import Ending

logger = logging.getLogger(__name__)

# The successor must hear the caller before the call is cut over: its own ears open some 0.2 s after it joins.
HEARS_WITHIN_SECONDS = 2.0
# Less than the agent before waits for, so that the caller is answered again the sooner.
CONNECTED_WITHIN_SECONDS = TAKEN_WITHIN_SECONDS - 2.0
# Beyond the time that the model is tried for, which counts from the first attempt's end and is looked at after each:
# the first attempt, the last, and the trial that tells whether it is the pod that is refused.
READY_WITHIN_SECONDS = 3 * CONNECT_TIMEOUT_SECONDS + 5.0

# The keepers see a closed connection at once, and look into it a moment later.
LOST_WITHIN_SECONDS = 2.0
LOST_POLL_SECONDS = 0.2


async def answer(context: JobContext) -> None:
    """livekit-agents' entrypoint: hold the call of this job."""
    call = {"voice_agent.call": context.job.room.sid, "voice_agent.room": context.job.room.name}
    # LiveKit's root span of the job is the one that trace lists show.
    trace.get_current_span().set_attributes(call)
    span = tracer.start_span("call", attributes=call)

    async def end() -> None:
        span.end()

    context.add_shutdown_callback(end)
    with trace.use_span(span):
        await context.connect()
        errand = errands.read(context.job.metadata)
        if errand is None:
            await _begin(context, span)
        elif (caller := await caller_in(context.room, errand.caller)) is None:
            context.shutdown(reason="the caller has left")
        elif _is_held(context, errand.caller, errand.epoch):
            return
        elif errand.kind is Kind.RECOVERY:
            identity = _identity(context, caller, errand.epoch, errand.job_metadata)
            await _restore(context, caller, identity, span, kept_as=errand.kept_as, deaths=errand.deaths)
        else:
            await _take_over(context, caller, errand, span)


def _identity(context: JobContext, caller: rtc.RemoteParticipant, epoch: int, metadata: str = "") -> CallIdentity:
    return CallIdentity(
        room=context.room.name,
        room_sid=context.job.room.sid,
        caller=caller.identity,
        epoch=epoch,
        job_metadata=metadata,
    )


def _is_held(context: JobContext, caller: str, epoch: int) -> bool:
    """Whether another agent in the room has the call, with `epoch` or a higher one; then this one leaves."""
    other = holder(context.room, caller)
    if other is None or other[0] < epoch:
        return False
    _leave(context, other[0])
    return True


def _leave(context: JobContext, epoch: int | None = None) -> None:
    logger.warning("another agent has the call; leaving without a word", extra={"new_epoch": epoch})
    context.shutdown(reason="superseded")


async def _begin(context: JobContext, span: Span) -> None:
    try:
        caller = await context.wait_for_participant()
    except RuntimeError:
        logger.info("the room closed before a caller came")
        return
    ready = prepared(context.proc)
    identity = _identity(context, caller, 1, context.job.metadata)
    if _is_held(context, caller.identity, identity.epoch):
        return
    try:
        epoch, deaths = await recovery.claim(identity, ready.settings)
    except recovery.HeldError:
        _leave(context)
        return
    if _is_held(context, caller.identity, epoch):
        return
    if epoch > 1:
        await _restore(context, caller, identity.model_copy(update={"epoch": epoch}), span, deaths=deaths)
        return
    describe(context, span, caller, identity)
    agent = ready.make_agent()
    call = Call(context, identity, agent_session(agent, ready), datetime.now(UTC))
    if fence := await _start(call, agent):
        await answer_for(call, fence)
        logger.info("call answered")


async def _start(call: Call, agent: Agent) -> Fence | None:
    """Start the agent in the room, and tell so there; None if another has the call, and this one leaves."""
    # Two that were sent at the same moment see each other while they start, before either speaks.
    fence, _ = await asyncio.gather(announce(call), talk(call, agent))
    return None if call.ending is Ending.SUPERSEDED else fence


async def _take_over(context: JobContext, caller: rtc.RemoteParticipant, errand: Errand, span: Span) -> None:
    taking, call = Taking(context.room, errand), None
    try:
        introduction = await taking.meet()
        # What the team's agent looks for in the job is what the first pod's agent found there.
        context.job.metadata = introduction.call.job_metadata
        identity = introduction.call.model_copy(update={"epoch": errand.epoch})
        describe(context, span, caller, identity)
        ready = prepared(context.proc)
        agent = agent_at(introduction.agent, ready)
        entrance.be_silent(agent)
        call = Call(context, identity, agent_session(agent, ready, held=True), datetime.now(UTC))
        logger.info("getting ready to take the call over", extra={"predecessor": errand.predecessor})
        await talk(call, agent)
        if model := call.model:
            await _hears(model)
        snapshot, cut = await taking.take()
        await _put_in_place(call, snapshot)
        await _go_on(call, snapshot, cut)
        try:
            await taking.taken()
        except TakeError:
            # The agent before goes on, and this one has the model already.
            call.session.output.set_audio_enabled(False)
            raise
    except (TakeError, SnapshotError) as reason:
        if isinstance(reason, GoneError) and call is not None and await _go_on_alone(call, caller, errand, span):
            if call.ending is None:
                _tidy_later(call, errand, introduction.dispatch)
            return
        logger.warning("call not taken over: %s", reason)
        await control.tell_counts(context.job.id, prepared(context.proc).control)
        if isinstance(reason, GoneError):
            # As the agent before would have.
            await _delete_dispatch(context, context.job.dispatch_id)
        context.shutdown(reason="call not taken over")
        return
    # Nothing, unless the agent before was cut off in its answer, or before it had begun.
    recovery.speak(call, snapshot, "")
    # Not earlier: until now there was nothing to hand over.
    fence = await announce(call)
    if call.ending is Ending.SUPERSEDED:
        return
    await answer_for(call, fence, restored=Restored(kind=Kind.HANDOVER))
    logger.info("call taken over", extra={"predecessor": errand.predecessor, "epoch": errand.epoch})
    _tidy_later(call, errand, introduction.dispatch)


async def _go_on_alone(call: Call, caller: rtc.RemoteParticipant, errand: Errand, span: Span) -> bool:
    """Go on from what the keepers have: the agent that called this one is gone, and this one hears the caller.

    Returns:
        False if there is nothing to go on from, or others go on, or the call has ended.
    """
    gone_at, settings = time.monotonic(), prepared(call.context.proc).settings
    found = await recovery.fetch(call.identity, settings)
    if isinstance(found, recovery.Fresh) or found.agent.path != path_of(call.agent):
        return False
    epoch = None
    while epoch is None:
        if time.monotonic() - gone_at >= LOST_WITHIN_SECONDS or not _may_go_on(call, caller, errand):
            return False
        epoch = await recovery.claim_lost(call.identity, errand.epoch - 1, settings)
        if epoch is None:
            # One that leaves in an orderly way is out of the room before the keepers lose sight of it.
            await asyncio.sleep(LOST_POLL_SECONDS)
    call.identity = found.call.model_copy(update={"epoch": epoch})
    describe(call.context, span, caller, call.identity)
    # Before all else: the keepers, who send an agent too, find this one then.
    keeping = await tether(call)
    fence = await announce(call)
    if call.ending is not Ending.SUPERSEDED:
        await _revive(call, fence, keeping, found, gone_at=gone_at)
    return True


def _may_go_on(call: Call, caller: rtc.RemoteParticipant, errand: Errand) -> bool:
    """Whether the room, as far as this agent is in it, has the caller and nobody who has the call."""
    room, other = call.context.room, holder(call.context.room, caller.identity)
    connected = room.connection_state == rtc.ConnectionState.CONN_CONNECTED
    there = connected and caller.identity in room.remote_participants
    return call.is_running and there and (other is None or other[0] < errand.epoch)


async def _go_on(call: Call, snapshot: Snapshot, cut: float) -> None:
    """Go on where the agent before has stopped, who may still reach the model, and waits to hear that this one does.

    Raises:
        TakeError: the model was given up, or not reached in time.
    """
    try:
        async with asyncio.timeout(CONNECTED_WITHIN_SECONDS):
            await call.resume(snapshot.model, cut=cut)
    except TimeoutError:
        # Until it has left, it may be connected after all, and the agent before goes on.
        call.session.output.set_audio_enabled(False)
        # So that the pod is not asked again at once.
        metrics.count(metrics.MODEL_LOST, metrics.UNREACHABLE)
        raise TakeError("the model was not reached in time") from None
    if not call.is_running:
        raise TakeError("the model cannot be talked to from here")


async def _restore(
    context: JobContext,
    caller: rtc.RemoteParticipant,
    identity: CallIdentity,
    span: Span,
    *,
    kept_as: str = "",
    deaths: int = 0,
) -> None:
    """Go on with a call whose agent is gone, as `identity`.

    Args:
        context: of the job.
        caller: who waits.
        identity: the call as it goes on.
        span: the call's.
        kept_as: see `Errand`.
        deaths: see `Errand`.
    """
    ready, began = prepared(context.proc), time.monotonic()
    context.job.metadata = identity.job_metadata
    kept = identity.model_copy(update={"room_sid": kept_as or identity.room_sid})
    found = await recovery.fetch(kept, ready.settings, deaths)
    snapshot, fresh = (None, found) if isinstance(found, recovery.Fresh) else (found, None)
    if snapshot is None:
        logger.error("the call goes on as a new conversation: %s", fresh, extra={"reason": fresh})
        agent = ready.make_agent()
    else:
        context.job.metadata = snapshot.call.job_metadata
        identity = snapshot.call.model_copy(update={"epoch": identity.epoch, "room_sid": identity.room_sid})
        agent = agent_at(snapshot.agent.path, ready)
        entrance.be_silent(agent)
    describe(context, span, caller, identity)
    call = Call(context, identity, agent_session(agent, ready, held=snapshot is not None), datetime.now(UTC))
    if (fence := await _start(call, agent)) is None:
        return
    # Not later: until the keepers know of this process, they learn of its death from nobody.
    await _revive(call, fence, await tether(call), snapshot, fresh, gone_at=began)


async def _revive(
    call: Call,
    fence: Fence,
    keeping: Keeping,
    snapshot: Snapshot | None,
    fresh: recovery.Fresh | None = None,
    *,
    gone_at: float,
) -> None:
    """Put the conversation in place, and go on with it.

    Args:
        call: of this process, which talks.
        fence: from `announce`.
        keeping: from `tether`.
        snapshot: what to go on from; None if the agent has begun a new conversation.
        fresh: why it has.
        gone_at: when the agent before was gone, on `time.monotonic()`.
    """
    settings = prepared(call.context.proc).settings
    if snapshot is not None:
        # One that hangs is known to nobody as long as it is tethered: as a lost one, it is known.
        async with keeping.restoring(), asyncio.timeout(settings.gemini_reconnect_seconds + READY_WITHIN_SECONDS):
            try:
                await _put_in_place(call, snapshot)
            except SnapshotError:
                # A conversation without memory is better than one that ends each of its agents.
                snapshot, fresh = None, recovery.Fresh.BROKEN
                await call.resume()
                entrance.make_up(call.session)
            else:
                await recovery.resume(call, snapshot, gone_at)
            if snapshot is not None:
                recovery.speak(call, snapshot, settings.recovery_line)
    if call.ending is Ending.SUPERSEDED:
        return
    # Where the model is out of reach, the worker has to hear so, and the call is left to the keepers once more.
    restored = Restored(kind=Kind.RECOVERY, fresh=fresh) if call.is_running else None
    await answer_for(call, fence, keeping, restored)
    if restored is not None:
        told = {"epoch": call.identity.epoch, "memory_kept": snapshot is not None}
        logger.info("call recovered, its agent was gone", extra=told)


async def _put_in_place(call: Call, snapshot: Snapshot) -> None:
    """Restore the call.

    Raises:
        SnapshotError: it has what cannot be restored here, as an item that a later livekit-agents wrote.
    """
    try:
        await call.restore(snapshot)
    except Exception as error:  # noqa: BLE001 - whatever a later release has written, or a team's class makes of it
        # Its message may quote the conversation.
        detail = f"it cannot be restored: {type(error).__name__}"
        logger.error("the snapshot cannot be used: %s", detail)  # noqa: TRY400
        raise SnapshotError(Unusable.BROKEN, detail) from None


def _tidy_later(call: Call, errand: Errand, dispatch: str) -> None:
    tidying = asyncio.create_task(_tidy(call, errand, dispatch))

    async def stop_tidying() -> None:
        await cancel_and_wait(tidying)

    call.context.add_shutdown_callback(stop_tidying)


async def _tidy(call: Call, errand: Errand, dispatch: str) -> None:
    """Delete the predecessor's dispatch: were the room made anew, it would bring an agent too many."""
    # Deleted earlier it would end the predecessor's job, which may still have words to play.
    await departure(call.context.room, errand.predecessor)
    await _delete_dispatch(call.context, dispatch)


async def _delete_dispatch(context: JobContext, dispatch: str) -> None:
    try:
        await context.api.agent_dispatch.delete_dispatch(dispatch, context.room.name)
    except API_ERRORS as error:
        logger.warning("dispatch %s could not be deleted: %s", dispatch, error)


async def _hears(model: ResumableSession) -> None:
    try:
        async with asyncio.timeout(HEARS_WITHIN_SECONDS):
            await model.hears(0.5)
    except TimeoutError:
        logger.info("the caller sends no audio")
