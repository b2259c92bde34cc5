from __future__ import annotations

from pathlib import Path

import pytest

from lab.callers import StarvedError
from lab.processors import ProcessorTime, fails_as_starved


def test_what_is_not_idle_is_busy(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 10 40 800 50 0 0 0 7 7\ncpu0 1 2 3 4\n")
    before = ProcessorTime.now(stat)
    stat.write_text("cpu  130 20 60 830 80 0 0 0 7 7\ncpu0 1 2 3 4\n")
    assert ProcessorTime.now(stat).busy_since(before) == pytest.approx(0.5)
    assert ProcessorTime.now(stat).taken_since(before) == pytest.approx(5 / 12)


def test_the_kernels_own_count_goes_on() -> None:
    before = ProcessorTime.now()
    assert 0.0 <= ProcessorTime.now().busy_since(before) <= 1.0


@pytest.mark.parametrize(("idle", "nice", "starved"), [(5, 0, True), (5, 6, False), (11, 0, False)])
def test_what_fails_on_a_full_machine_was_starved(idle: int, nice: int, starved: bool) -> None:
    times = iter([ProcessorTime(0, 0, 0), ProcessorTime(100, idle, nice)])
    with (
        pytest.raises(StarvedError if starved else AssertionError, match="too late"),
        fails_as_starved(lambda: next(times)),
    ):
        raise AssertionError("too late")


def test_what_passes_on_a_full_machine_passes() -> None:
    times = iter([ProcessorTime(0, 0, 0), ProcessorTime(100, 0, 0)])
    with fails_as_starved(lambda: next(times)):
        pass
