"""When a call may change hands: nobody speaks, and the agent that leaves has a processor, if that can be waited for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

import pytest

from voice_agent.call.control import Deadline
from voice_agent.call.handover import boundary
from voice_agent.call.handover.calm import HURRY_SECONDS, Watch
from voice_agent.call.live import Call

AT_REST = SimpleNamespace(agent_state="listening", user_state="listening", current_speech=None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "POLL_SECONDS", 0.001)


async def _until(starved: Iterable[bool | None], seconds: float) -> None:
    """Wait, with these looks at the processor, and so much time."""
    call = cast("Call", SimpleNamespace(session=AT_REST, model=None))
    looks = iter(starved)
    processor = cast("Watch", SimpleNamespace(starved=lambda: next(looks)))
    await asyncio.wait_for(boundary.until(call, Deadline(seconds), asyncio.Event(), processor), 10)


async def test_a_boundary_at_which_the_agent_is_starved_is_passed_over() -> None:
    starved = iter([True, True, False, True])
    await _until(starved, 600)
    assert list(starved) == [True]


async def test_it_is_taken_where_nothing_is_known_of_the_processor() -> None:
    await _until([None], 600)


async def test_it_is_taken_where_time_is_short() -> None:
    await _until(itertools.repeat(True), HURRY_SECONDS)


async def test_a_starved_agent_gives_its_call_away_after_all() -> None:
    # A third of 0.3 s may be waited for.
    await _until(itertools.repeat(True), HURRY_SECONDS + 0.3)
