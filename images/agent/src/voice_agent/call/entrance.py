"""An agent enters a call once: in the call's first pod, or, if that goes before anything came of it, in the next."""

from __future__ import annotations

import asyncio
import logging

from livekit.agents import Agent, AgentSession, AgentTask
from livekit.agents.voice.agent import _set_activity_task_info
from livekit.agents.voice.agent_activity import _OnEnterContextVar, _OnEnterData

logger = logging.getLogger(__name__)


def is_under_way(session: AgentSession[None]) -> bool:
    """Whether the active agent's `on_enter` still runs; not while an agent awaits a task (`AgentTask`) in it."""
    task = _task(session)
    return task is not None and not task.done() and not isinstance(session.current_agent, AgentTask)


def be_silent(agent: Agent) -> None:
    """Keep `on_enter` from running when the session starts: it has run when the caller came.

    Only this once: an agent that a tool returns to later is entered as always.
    """

    async def entered() -> None:
        del agent.on_enter

    agent.on_enter = entered  # type: ignore[method-assign]


def stop(session: AgentSession[None]) -> None:
    """Cancel the active agent's `on_enter`, if it still runs: the end of a session waits for it."""
    if task := _task(session):
        task.cancel()


def make_up(session: AgentSession[None]) -> None:
    """Run the active agent's `on_enter` in a session that has started without it, or has stopped it."""
    activity = session._activity
    if activity is None:
        return
    agent = activity.agent

    async def enter() -> None:
        token = _OnEnterContextVar.set(_OnEnterData(session=session, agent=agent))
        try:
            await agent.on_enter()
        except Exception:
            # Whatever a team's code fails of, the caller can still be heard.
            logger.exception("on_enter of %s failed", type(agent).__qualname__)
        finally:
            _OnEnterContextVar.reset(token)

    # As livekit-agents 1.8.9 does when a session starts (voice/agent_activity.py), so that tasks can be awaited in it,
    # and the tools that it keeps from an agent that enters are kept.
    activity._on_enter_task = task = activity._create_speech_task(enter(), name="on_enter")
    _set_activity_task_info(task, inline_task=True)


def _task(session: AgentSession[None]) -> asyncio.Task[None] | None:
    # livekit-agents 1.8.9 tells nobody of its end.
    return session._activity._on_enter_task if session._activity is not None else None
