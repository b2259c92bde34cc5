"""One call: the agent joins the room, talks with the caller, and leaves with them."""

from __future__ import annotations

import logging

from livekit import rtc
from livekit.agents import NOT_GIVEN, Agent, AgentSession, CloseEvent, JobContext
from livekit.agents.utils import is_given
from livekit.agents.voice.room_io import RoomOptions
from opentelemetry import trace
from opentelemetry.trace import Span

from voice_agent import gemini
from voice_agent.call.process import Prepared, prepared
from voice_agent.telemetry.traces import tracer

logger = logging.getLogger(__name__)


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
        try:
            caller = await context.wait_for_participant()
        except RuntimeError:
            logger.info("the room closed before a caller came")
            return
        _describe(span, caller)
        context.log_context_fields["caller"] = caller.identity
        await _talk(context, caller)


async def _talk(context: JobContext, caller: rtc.RemoteParticipant) -> None:
    agent = prepared(context.proc).make_agent()
    session = _session(agent, prepared(context.proc))

    @session.on("close")
    def _leave(event: CloseEvent) -> None:
        if event.error:
            logger.error("call over: error: %s", event.error.error)
        else:
            logger.info("call over: %s", event.reason.value)
        # Else the job, its slot and a drain last until LiveKit closes the room, 20 s after the caller left.
        context.shutdown(reason=event.reason.value)

    await session.start(agent, room=context.room, room_options=RoomOptions(participant_identity=caller.identity))
    logger.info("call answered")


def _session(agent: Agent, ready: Prepared) -> AgentSession[None]:
    # The echo canceller's warm-up would silence a caller who speaks during the agent's first words.
    if _brings_model(agent):
        return AgentSession[None](vad=ready.vad or NOT_GIVEN, aec_warmup_duration=None)
    return AgentSession[None](
        llm=gemini.realtime_model(ready.settings),
        vad=ready.vad,
        turn_handling={"turn_detection": "realtime_llm"},
        aec_warmup_duration=None,
    )


def _brings_model(agent: Agent) -> bool:
    return is_given(agent.llm) and agent.llm is not None


def _describe(span: Span, caller: rtc.RemoteParticipant) -> None:
    kind = rtc.ParticipantKind.Name(caller.kind).removeprefix("PARTICIPANT_KIND_").lower()
    span.set_attribute("voice_agent.caller", caller.identity)
    span.set_attribute("voice_agent.caller.kind", kind)
    if sip_call := caller.attributes.get("sip.callID"):
        span.set_attribute("voice_agent.caller.sip_call", sip_call)
