"""When a call may change hands: nobody speaks, and both agents have a processor, if that can be waited for."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from voice_agent.call.control import Deadline
from voice_agent.call.handover import boundary
from voice_agent.call.handover.calm import HURRY_SECONDS
from voice_agent.call.live import Call

AT_REST = SimpleNamespace(agent_state="listening", user_state="listening", current_speech=None)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boundary, "POLL_SECONDS", 0.001)


async def _until(starved: Iterable[bool], deadline: Deadline) -> None:
    """Wait, with these looks at the processors."""
    call = cast("Call", SimpleNamespace(session=AT_REST, model=None))
    looks = iter(starved)
    await asyncio.wait_for(boundary.until(call, deadline, asyncio.Event(), lambda: next(looks)), 10)


async def test_a_boundary_at_which_an_agent_is_starved_is_passed_over() -> None:
    starved = iter([True, True, False, True])
    await _until(starved, Deadline(600))
    assert list(starved) == [True]


async def test_nobody_looks_where_time_is_short() -> None:
    await _until([], Deadline(HURRY_SECONDS))


async def test_a_deadline_that_comes_nearer_ends_the_wait() -> None:
    deadline = Deadline(600)

    def starved() -> Iterator[bool]:
        yield from itertools.repeat(True, 5)
        deadline.move(HURRY_SECONDS)
        yield True

    looks = starved()
    await _until(looks, deadline)
    assert not list(looks)
