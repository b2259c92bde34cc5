"""A call moves when the process that takes it has a processor to spare, or when there is no more time to wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from voice_agent.call.handover import calm
from voice_agent.call.handover.calm import Scheduled

MS = 1_000_000
BUSY = Scheduled(ran=100 * MS, waited=400 * MS)
EASY = Scheduled(ran=100 * MS, waited=100 * MS)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm, "WINDOW_SECONDS", 0.01)


def _kernel(monkeypatch: pytest.MonkeyPatch, windows: Iterator[Scheduled]) -> list[Scheduled]:
    """Have the kernel tell of these windows, one after the other; the list is of those that it told of."""
    told: list[Scheduled] = []

    def scheduled() -> Scheduled:
        total = Scheduled(sum(window.ran for window in told), sum(window.waited for window in told))
        told.append(next(windows))
        return total

    monkeypatch.setattr(calm, "scheduled", scheduled)
    return told


async def test_a_starved_process_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    told = _kernel(monkeypatch, iter([BUSY, EASY, BUSY, EASY, EASY, BUSY, BUSY]))
    assert await calm.until(60) < 60
    # The last is of the window that would have begun.
    assert len(told) == 6


async def test_it_is_waited_for_no_longer_than_there_is_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told = _kernel(monkeypatch, iter([BUSY] * 1000))
    assert await calm.until(0.05) >= 0.05
    assert len(told) < 10


async def test_without_time_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _kernel(monkeypatch, iter([BUSY] * 1000))
    assert await calm.until(0) < 1


async def test_a_process_that_hardly_runs_is_not_taken_for_starved(monkeypatch: pytest.MonkeyPatch) -> None:
    _kernel(monkeypatch, iter([Scheduled(ran=MS, waited=9 * MS)] * 1000))
    assert await calm.until(60) < 60


async def test_a_kernel_that_does_not_tell_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm, "scheduled", lambda: None)
    assert await calm.until(60) < 1


def test_this_kernel_tells() -> None:
    assert calm.scheduled() is not None
