"""What every call has, however it came to this pod: a session, a span, a tether, an ear for the pod's drain."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial

from livekit import rtc
from livekit.agents import NOT_GIVEN, Agent, AgentSession, CloseEvent, CloseReason, JobContext
from livekit.agents.utils import is_given
from livekit.agents.voice.room_io import RoomOptions
from opentelemetry.trace import Span

from voice_agent import agents, gemini
from voice_agent.call.absence import Absence
from voice_agent.call.control import Control, Deadline, Met, Restored, Result, Superseded
from voice_agent.call.fence import Fence
from voice_agent.call.handover.offer import Offer
from voice_agent.call.keeping import Keeping
from voice_agent.call.live import Call
from voice_agent.call.process import Prepared, prepared
from voice_agent.call.reception import Reception
from voice_agent.call.rejoining import Rejoining
from voice_agent.call.snapshot import CallIdentity
from voice_agent.settings import SettingsError
from voice_agent.telemetry import metrics
from voice_agent.tether.wire import Ending

logger = logging.getLogger(__name__)

# With any other reason the caller is still there, and the keepers have the call taken up elsewhere.
_ENDINGS = {
    CloseReason.PARTICIPANT_DISCONNECTED: Ending.CALLER_LEFT,
    CloseReason.USER_INITIATED: Ending.FINISHED,
    CloseReason.TASK_COMPLETED: Ending.FINISHED,
    CloseReason.ERROR: Ending.FINISHED,
}


def describe(context: JobContext, span: Span, caller: rtc.RemoteParticipant, call: CallIdentity) -> None:
    """Put the call and its caller on the span and on every log line."""
    kind = rtc.ParticipantKind.Name(caller.kind).removeprefix("PARTICIPANT_KIND_").lower()
    span.set_attribute("voice_agent.caller", caller.identity)
    span.set_attribute("voice_agent.caller.kind", kind)
    span.set_attribute("voice_agent.epoch", call.epoch)
    if sip_call := caller.attributes.get("sip.callID"):
        span.set_attribute("voice_agent.caller.sip_call", sip_call)
    context.log_context_fields["caller"] = caller.identity
    context.log_context_fields["epoch"] = call.epoch


def agent_at(path: str, ready: Prepared) -> Agent:
    """A new agent of the class at `path`, or, if that cannot be made, of AGENT_CLASS."""
    try:
        return agents.load(path)()
    except (SettingsError, TypeError) as error:
        logger.error("the active agent, %s, cannot be made here; AGENT_CLASS goes on: %s", path, error)  # noqa: TRY400
    except Exception:
        # Whatever a team's class wants that is not there: the caller must not be left for it.
        logger.exception("the active agent, %s, cannot be made here; AGENT_CLASS goes on", path)
    return ready.make_agent()


def agent_session(agent: Agent, ready: Prepared, *, held: bool = False) -> AgentSession[None]:
    """The session that the agent talks in.

    Args:
        agent: it may bring a model of its own.
        ready: what the process has prepared.
        held: whether the call is still another pod's: nothing is heard or said until `Call.resume`.
    """
    # The echo canceller's warm-up would silence a caller who speaks during the agent's first words.
    if _brings_model(agent):
        session = AgentSession[None](vad=ready.vad or NOT_GIVEN, aec_warmup_duration=None)
        session.input.set_audio_enabled(not held)
        return session
    return AgentSession[None](
        llm=gemini.realtime_model(ready.settings, held=held),
        vad=ready.vad,
        turn_handling={"turn_detection": "realtime_llm"},
        aec_warmup_duration=None,
    )


async def talk(call: Call, agent: Agent) -> None:
    """Start the agent in the room."""

    @call.session.on("close")
    def _leave(event: CloseEvent) -> None:
        if event.error:
            logger.error("call over: error: %s", event.error.error)
        else:
            logger.info("call over: %s", event.reason.value)
        # Another pod may have the model: the caller is left to the keepers.
        lost_here = event.error is not None and isinstance(event.error.error, gemini.LostHereError)
        call.ending = call.ending or (None if lost_here else _ENDINGS.get(event.reason))
        # Else the job, its slot and a drain last until LiveKit closes the room, 20 s after the caller left.
        call.context.shutdown(reason=event.reason.value)

    def hung_up() -> None:
        # As livekit-agents 1.8.9 does itself (voice/room_io/room_io.py) when told to close at once.
        call.session._close_soon(reason=CloseReason.PARTICIPANT_DISCONNECTED)

    absence = Absence(call.context.room, call.identity.caller, hung_up)
    absence.start()
    call.context.add_shutdown_callback(absence.aclose)
    options = RoomOptions(participant_identity=call.identity.caller, close_on_disconnect=False)
    # A session's host lets anybody in the room read the conversation and the agent's instructions, and switch the
    # agent's ears off: livekit-agents 1.8.9, voice/remote_session.py, asks nobody who they are.
    await call.session.start(agent, room=call.context.room, room_options=options, session_host=False)


async def announce(call: Call) -> Fence:
    """Say in the room that this agent has the call, and leave without a word as soon as another has it since."""
    fence = Fence(call.context.room, call.identity.caller, call.identity.epoch, call.give_up_to)
    await fence.start()
    return fence


async def tether(call: Call) -> Keeping:
    """Have the keepers watch over this process, before it is known what the conversation was."""
    keeping = Keeping(call, prepared(call.context.proc).settings)
    await keeping.tether()
    call.context.add_shutdown_callback(keeping.aclose)
    return keeping


async def answer_for(
    call: Call, fence: Fence, keeping: Keeping | None = None, restored: Restored | None = None
) -> None:
    """The call is ours: from now on the pod may ask for it to be handed over, and the keepers keep it.

    Args:
        call: with its agent, which talks.
        fence: from `announce`.
        keeping: from `tether`; by default that is done now.
        restored: how it came here, if another agent began it.
    """
    ready = prepared(call.context.proc)
    keeping = keeping or await tether(call)
    offer = Offer(call, lambda: control.tell(Met()))
    control = Control(call.context.job.id, lambda deadline: _hand_over(call, offer, deadline), keeping.abandon)
    await control.start(ready.control)
    metrics.tell_counts(control.count)
    if restored is not None:
        control.tell(restored)

    async def leave() -> None:
        if call.ending is Ending.SUPERSEDED:
            control.tell(Superseded())
        await control.aclose()

    call.context.add_shutdown_callback(leave)
    keeping.keep()
    reception = Reception(call.context.room, ready.settings.livekit_url)
    cut_off = partial(keeping.abandon, cut_off=True)
    rejoining = Rejoining(call, fence, reception, keeping.renew, keeping.abandon, cut_off)
    rejoining.start()
    call.context.add_shutdown_callback(rejoining.aclose)


async def _hand_over(call: Call, offer: Offer, deadline: Deadline) -> AsyncIterator[Result]:
    async for result in offer.hand_over(deadline):
        yield result
    if call.ending is Ending.HANDED_OVER:
        call.context.shutdown(reason="handed over")


def _brings_model(agent: Agent) -> bool:
    return is_given(agent.llm) and agent.llm is not None
