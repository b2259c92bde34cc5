"""Whether a process has a processor to spare, and how long that may be waited for."""

from __future__ import annotations

import asyncio
import itertools
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
    monkeypatch.setattr(calm, "POLL_SECONDS", 0.01)

    def tells(moments: Iterable[Scheduled]) -> None:
        totals = itertools.accumulate(moments, lambda a, b: Scheduled(a.ran + b.ran, a.waited + b.waited))
        monkeypatch.setattr(calm, "scheduled", lambda: next(totals))

    return tells


def _watch() -> calm.Watch:
    """Whose clock goes on by 10 ms at each look."""
    return calm.Watch(itertools.count(0, 0.01).__next__)


def test_a_process_that_hardly_runs_is_not_taken_for_starved(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel(itertools.repeat(IDLE))
    watch = _watch()
    for _ in range(3):
        watch.look()
    assert not watch.starved


def test_where_the_kernel_does_not_tell_nothing_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calm, "scheduled", lambda: None)
    watch = _watch()
    assert not watch.starved
    for _ in range(3):
        watch.look()
    assert not watch.starved


def test_until_it_is_known_it_counts_as_starved(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel(itertools.repeat(EASY))
    watch = _watch()
    seen = [watch.starved]
    for _ in range(3):
        watch.look()
        seen.append(watch.starved)
    assert seen[:2] == [True, True]
    assert not seen[-1]


def test_what_was_long_ago_counts_no_more(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel([BUSY, BUSY, BUSY, EASY, EASY, EASY, EASY])
    watch = _watch()
    seen = []
    for _ in range(6):
        watch.look()
        seen.append(watch.starved)
    assert seen[1] is True
    assert seen[-1] is False


async def test_of_what_was_before_looking_nothing_counts(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel(itertools.repeat(EASY))
    watch = _watch()
    for _ in range(3):
        watch.look()
    assert not watch.starved
    async with watch.looking():
        assert watch.starved


async def test_a_watch_looks_by_itself(kernel: Callable[[Iterable[Scheduled]], None]) -> None:
    kernel(itertools.repeat(EASY))
    watch = calm.Watch()
    async with watch.looking(), asyncio.timeout(10):
        while watch.starved:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("left", "seconds"), [(-5, 0), (15, 0), (17, 0), (30, 5), (45, 10), (75, 20), (600, 20)])
def test_a_third_of_the_time_beyond_what_a_handover_may_need_is_waited_for(left: float, seconds: float) -> None:
    assert calm.patience(left) == seconds


@pytest.mark.skipif(not calm._SCHEDSTAT.exists(), reason="a kernel that does not tell")
def test_this_kernel_tells() -> None:
    assert calm.scheduled() is not None
