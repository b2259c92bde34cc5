"""A call moves when the process that takes it has a processor to spare, or when there is no more time to wait."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterable

import pytest

from voice_agent.call.handover import calm
from voice_agent.call.handover.calm import Scheduled

MS = 1_000_000
EASY = Scheduled(ran=100 * MS, waited=100 * MS)
BUSY = Scheduled(ran=100 * MS, waited=400 * MS)
IDLE = Scheduled(ran=MS, waited=9 * MS)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterable[Scheduled]], None]:
    """Has the kernel tell of these moments, one after the other; a window is two of them."""
    monkeypatch.setattr(calm, "WINDOW_SECONDS", 0.015)
    monkeypatch.setattr(calm, "_POLL_SECONDS", 0.01)

    def tells(moments: Iterable[Scheduled]) -> None:
        totals = itertools.accumulate(moments, lambda a, b: Scheduled(a.ran + b.ran, a.waited + b.waited))
        monkeypatch.setattr(calm, "scheduled", lambda: next(totals))

    return tells


async def test_a_starved_process_is_waited_for(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    left = iter([BUSY] * 20 + [EASY] * 20)
    kernel(left)
    await asyncio.wait_for(calm.until(60), 10)
    assert 0 < len(list(left)) < 20


async def test_it_is_waited_for_no_longer_than_there_is_time(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel(itertools.repeat(BUSY))
    began = time.monotonic()
    await asyncio.wait_for(calm.until(0.1), 10)
    assert time.monotonic() - began >= 0.1


async def test_without_time_nothing_is_waited_for(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel(itertools.repeat(BUSY))
    await asyncio.wait_for(calm.until(calm.patience(calm.HURRY_SECONDS)), 10)


async def test_a_process_that_hardly_runs_is_not_taken_for_starved(
    kernel: Callable[[Iterable[Scheduled]], None],
) -> None:
    kernel(itertools.repeat(IDLE))
    await asyncio.wait_for(calm.until(60), 10)


async def test_a_kernel_that_does_not_tell_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm, "scheduled", lambda: None)
    await asyncio.wait_for(calm.until(60), 10)
    assert not calm.Watch().starved()


def test_what_was_long_ago_counts_no_more(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel([BUSY, BUSY, BUSY, EASY, EASY, EASY, EASY])
    watch = calm.Watch()
    seen = []
    for _ in range(6):
        time.sleep(0.01)
        seen.append(watch.starved())
    assert seen[1] is True
    assert seen[-1] is False


def test_this_kernel_tells() -> None:
    assert calm.scheduled() is not None
