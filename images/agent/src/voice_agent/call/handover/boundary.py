"""The moment at which a call can change hands unheard: nobody speaks, nothing is under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from livekit.agents import AgentSession

from voice_agent.call.control import Deadline
from voice_agent.call.live import Call

POLL_SECONDS = 0.1
# One that is silent for longer may be waiting for the caller to begin, and no drain for it.
ENTERS_WITHIN_SECONDS = 30.0


async def until(call: Call, deadline: Deadline, gone: asyncio.Event, passed_over: Callable[[], bool]) -> None:
    """Wait for a turn boundary, at most until the deadline, or until the successor is gone.

    Args:
        call: whose turns are meant.
        deadline: of the handover.
        gone: set when the successor has left.
        passed_over: whether a boundary of this moment is not wanted.
    """
    # The model follows the caller's voice, the session its own playout: neither tells of the other's changes.
    while not deadline.passed and not gone.is_set():
        if is_now(call) and not passed_over():
            return
        await asyncio.sleep(POLL_SECONDS)


def is_now(call: Call) -> bool:
    """Whether the call is at a turn boundary."""
    model = call.model
    return _at_rest(call.session) and not _enters(call) and (model is None or model.is_at_boundary())


def _enters(call: Call) -> bool:
    # What an agent looks up before it greets would be looked up, or told to others, twice.
    return call.entering and time.time() - call.entered_at.timestamp() < ENTERS_WITHIN_SECONDS


def _at_rest(session: AgentSession[None]) -> bool:
    return session.agent_state == "listening" and session.user_state != "speaking" and session.current_speech is None
