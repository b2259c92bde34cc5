"""The moment at which a call can change hands unheard: nobody speaks, nothing is under way."""

from __future__ import annotations

import asyncio
import time

from livekit.agents import AgentSession

from voice_agent.call.control import Deadline
from voice_agent.call.handover import calm
from voice_agent.call.live import Call

POLL_SECONDS = 0.1


async def until(call: Call, deadline: Deadline, gone: asyncio.Event, processor: calm.Watch) -> None:
    """Wait for a turn boundary, at most until `deadline`, or until the successor is `gone`.

    Where there is the time, one at which this process is starved of its `processor` is passed over.
    """
    began = time.monotonic()
    # The model follows the caller's voice, the session its own playout: neither tells of the other's changes.
    while not deadline.passed and not gone.is_set():
        model = call.model
        starved = processor.starved() and time.monotonic() - began < calm.patience(deadline.left)
        if not starved and _at_rest(call.session) and (model is None or model.is_at_boundary()):
            return
        await asyncio.sleep(POLL_SECONDS)


def _at_rest(session: AgentSession[None]) -> bool:
    return session.agent_state == "listening" and session.user_state != "speaking" and session.current_speech is None
