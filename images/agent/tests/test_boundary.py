"""When a call may change hands: nobody speaks, and nobody would rather wait."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest

from voice_agent.call.control import Deadline
from voice_agent.call.handover import boundary
from voice_agent.call.live import Call

AT_REST = SimpleNamespace(agent_state="listening", user_state="listening", current_speech=None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "POLL_SECONDS", 0.001)


async def test_a_boundary_that_is_not_wanted_is_passed_over() -> None:
    call = cast("Call", SimpleNamespace(session=AT_REST, model=None, entering=False))
    looks = iter([True, True, False, True])
    await asyncio.wait_for(boundary.until(call, Deadline(600), asyncio.Event(), lambda: next(looks)), 10)
    assert list(looks) == [True]


@pytest.mark.parametrize(("seconds", "waits"), [(5, True), (60, False)])
def test_an_agent_that_is_about_to_greet_is_waited_for_and_not_for_ever(seconds: float, waits: bool) -> None:
    entered_at = datetime.now(UTC) - timedelta(seconds=seconds)
    call = SimpleNamespace(session=AT_REST, model=None, entering=True, entered_at=entered_at)
    assert boundary.is_now(cast("Call", call)) != waits
    call.entering = False
    assert boundary.is_now(cast("Call", call))
