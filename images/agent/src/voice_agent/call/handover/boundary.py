"""The moment at which a call can change hands unheard: nobody speaks, nothing is under way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from livekit.agents import AgentSession

from voice_agent.call.control import Deadline
from voice_agent.call.handover import calm
from voice_agent.call.live import Call

POLL_SECONDS = 0.1


async def until(call: Call, deadline: Deadline, gone: asyncio.Event, starved: Callable[[], bool]) -> None:
    """Wait for a turn boundary, at most until `deadline`, or until the successor is `gone`.

    A boundary at which either agent is `starved` of a processor is passed over, where there is the time.
    """
    began = time.monotonic()
    # The model follows the caller's voice, the session its own playout: neither tells of the other's changes.
    while not deadline.passed and not gone.is_set():
        waits = time.monotonic() - began < calm.patience(deadline.left) and starved()
        if not waits and is_now(call):
            return
        await asyncio.sleep(POLL_SECONDS)


def is_now(call: Call) -> bool:
    """Whether the call is at a turn boundary."""
    model = call.model
    return _at_rest(call.session) and (model is None or model.is_at_boundary())


def _at_rest(session: AgentSession[None]) -> bool:
    return session.agent_state == "listening" and session.user_state != "speaking" and session.current_speech is None
