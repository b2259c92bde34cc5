"""One call: the agent joins the room, talks with the caller, and leaves with them or when another takes over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from livekit import rtc
from livekit.agents import NOT_GIVEN, Agent, AgentSession, CloseEvent, JobContext
from livekit.agents.utils import is_given
from livekit.agents.utils.aio import cancel_and_wait
from livekit.agents.voice.room_io import RoomOptions
from opentelemetry import trace
from opentelemetry.trace import Span

from voice_agent import agents, gemini
from voice_agent.call import errand as errands
from voice_agent.call.control import Control, Result
from voice_agent.call.errand import Errand
from voice_agent.call.handover.offer import API_ERRORS, Offer
from voice_agent.call.handover.take import TakeError, Taking
from voice_agent.call.handover.wire import departure
from voice_agent.call.live import Call, enter_silently
from voice_agent.call.process import Prepared, prepared
from voice_agent.call.snapshot import CallIdentity
from voice_agent.gemini import ResumableSession
from voice_agent.settings import SettingsError
from voice_agent.telemetry.traces import tracer

logger = logging.getLogger(__name__)

# The successor must hear the caller before the call is cut over: its own ears open some 0.2 s after it joins.
HEARS_WITHIN_SECONDS = 2.0


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
        if errand := errands.read(context.job.metadata):
            await _take_over(context, errand, span)
        else:
            await _begin(context, span)


async def _begin(context: JobContext, span: Span) -> None:
    try:
        caller = await context.wait_for_participant()
    except RuntimeError:
        logger.info("the room closed before a caller came")
        return
    identity = CallIdentity(
        room=context.room.name,
        room_sid=context.job.room.sid,
        caller=caller.identity,
        job_metadata=context.job.metadata,
    )
    _describe(context, span, caller, identity)
    ready = prepared(context.proc)
    agent = ready.make_agent()
    call = Call(context, identity, _session(agent, ready), datetime.now(UTC))
    await _talk(call, agent)
    await _obey_drains(call)
    logger.info("call answered")


async def _take_over(context: JobContext, errand: Errand, span: Span) -> None:
    caller = context.room.remote_participants.get(errand.caller)
    if caller is None:
        context.shutdown(reason="the caller has left")
        return
    taking = Taking(context.room, errand)
    try:
        introduction = await taking.meet()
        # What the team's agent looks for in the job is what the first pod's agent found there.
        context.job.metadata = introduction.call.job_metadata
        identity = introduction.call.model_copy(update={"epoch": errand.epoch})
        _describe(context, span, caller, identity)
        ready = prepared(context.proc)
        agent = _make(introduction.agent, ready)
        enter_silently(agent)
        call = Call(context, identity, _session(agent, ready, held=True), datetime.now(UTC))
        if _brings_model(agent):
            call.session.input.set_audio_enabled(False)
        await _talk(call, agent)
        if model := call.model:
            await _hears(model)
        snapshot, cut = await taking.take()
        await call.restore(snapshot)
        await call.resume(snapshot.model, cut=cut)
        await taking.taken()
    except TakeError as reason:
        logger.warning("call not taken over: %s", reason)
        context.shutdown(reason="call not taken over")
        return
    # Not earlier: until now there was nothing to hand over.
    await _obey_drains(call)
    logger.info("call taken over", extra={"predecessor": errand.predecessor, "epoch": errand.epoch})
    tidying = asyncio.create_task(_tidy(call, errand, introduction.dispatch))

    async def stop_tidying() -> None:
        await cancel_and_wait(tidying)

    context.add_shutdown_callback(stop_tidying)


def _make(path: str, ready: Prepared) -> Agent:
    try:
        return agents.load(path)()
    except (SettingsError, TypeError) as error:
        logger.error("the active agent, %s, cannot be made here; AGENT_CLASS goes on: %s", path, error)  # noqa: TRY400
        return ready.make_agent()


async def _tidy(call: Call, errand: Errand, dispatch: str) -> None:
    """Delete the predecessor's dispatch: were the room made anew, it would bring an agent too many."""
    room = call.context.room
    # Deleted earlier it would end the predecessor's job, which may still have words to play.
    await departure(room, errand.predecessor)
    try:
        await call.context.api.agent_dispatch.delete_dispatch(dispatch, room.name)
    except API_ERRORS as error:
        logger.warning("the dispatch of the agent before could not be deleted: %s", error)


async def _hears(model: ResumableSession) -> None:
    try:
        await asyncio.wait_for(model.hears(0.5), HEARS_WITHIN_SECONDS)
    except TimeoutError:
        logger.info("the caller sends no audio")


async def _talk(call: Call, agent: Agent) -> None:
    @call.session.on("close")
    def _leave(event: CloseEvent) -> None:
        if event.error:
            logger.error("call over: error: %s", event.error.error)
        else:
            logger.info("call over: %s", event.reason.value)
        # Else the job, its slot and a drain last until LiveKit closes the room, 20 s after the caller left.
        call.context.shutdown(reason=event.reason.value)

    options = RoomOptions(participant_identity=call.identity.caller)
    await call.session.start(agent, room=call.context.room, room_options=options)


async def _obey_drains(call: Call) -> None:
    """From now on the pod may ask for the call to be handed over."""
    control = Control(call.context.job.id, lambda seconds: _hand_over(call, seconds))
    await control.start(prepared(call.context.proc).control)
    call.context.add_shutdown_callback(control.aclose)


async def _hand_over(call: Call, seconds: float) -> AsyncIterator[Result]:
    async for result in Offer(call).hand_over(seconds):
        yield result
        if result is Result.TAKEN:
            call.context.shutdown(reason="handed over")


def _session(agent: Agent, ready: Prepared, *, held: bool = False) -> AgentSession[None]:
    # The echo canceller's warm-up would silence a caller who speaks during the agent's first words.
    if _brings_model(agent):
        return AgentSession[None](vad=ready.vad or NOT_GIVEN, aec_warmup_duration=None)
    return AgentSession[None](
        llm=gemini.realtime_model(ready.settings, held=held),
        vad=ready.vad,
        turn_handling={"turn_detection": "realtime_llm"},
        aec_warmup_duration=None,
    )


def _brings_model(agent: Agent) -> bool:
    return is_given(agent.llm) and agent.llm is not None


def _describe(context: JobContext, span: Span, caller: rtc.RemoteParticipant, call: CallIdentity) -> None:
    kind = rtc.ParticipantKind.Name(caller.kind).removeprefix("PARTICIPANT_KIND_").lower()
    span.set_attribute("voice_agent.caller", caller.identity)
    span.set_attribute("voice_agent.caller.kind", kind)
    span.set_attribute("voice_agent.epoch", call.epoch)
    if sip_call := caller.attributes.get("sip.callID"):
        span.set_attribute("voice_agent.caller.sip_call", sip_call)
    context.log_context_fields["caller"] = caller.identity
    context.log_context_fields["epoch"] = call.epoch
