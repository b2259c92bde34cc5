"""How long an agent that must go waits for another."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api

from voice_agent.call.control import Deadline
from voice_agent.call.handover import offer
from voice_agent.call.live import Call

DISPATCH = api.AgentDispatch(id="AD_1")


def _attempt(get_dispatch: Any) -> offer._Attempt:
    context = SimpleNamespace(
        room=SimpleNamespace(name="room"),
        api=SimpleNamespace(agent_dispatch=SimpleNamespace(get_dispatch=get_dispatch)),
    )
    return offer._Attempt(cast("Call", SimpleNamespace(context=context)), cast("Deadline", None))


async def test_a_successor_that_came_while_livekit_did_not_answer_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.1)

    async def comes(*_: object) -> None:
        attempt._met.set()
        await asyncio.Event().wait()

    attempt = _attempt(comes)
    await attempt._until_assigned(DISPATCH)


async def test_a_dispatch_that_nobody_takes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offer, "ASSIGNED_WITHIN_SECONDS", 0.1)

    async def unanswered(*_: object) -> None:
        await asyncio.Event().wait()

    with pytest.raises(offer.NoSuccessorError, match="free slot"):
        await _attempt(unanswered)._until_assigned(DISPATCH)
