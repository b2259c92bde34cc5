from __future__ import annotations

from pathlib import Path

import pytest

from lab.matrix.processors import ProcessorTime


def test_what_is_not_idle_is_busy(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 10 40 800 50 0 0 0 7 7\ncpu0 1 2 3 4\n")
    before = ProcessorTime.now(stat)
    stat.write_text("cpu  130 10 60 820 80 0 0 0 7 7\ncpu0 1 2 3 4\n")
    assert ProcessorTime.now(stat).busy_since(before) == pytest.approx(0.5)


def test_the_kernels_own_count_goes_on() -> None:
    before = ProcessorTime.now()
    assert 0.0 <= ProcessorTime.now().busy_since(before) <= 1.0
