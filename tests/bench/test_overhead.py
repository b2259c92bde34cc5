"""What the benches make of what they measured beside each other."""

from __future__ import annotations

import pytest

from bench import start
from bench.overhead import OURS, PLAIN
from bench.paired import Round, table
from bench.start import Start


def rounds(*cores: tuple[float, float], latencies: tuple[float, float] = (1.1, 1.1)) -> list[dict[str, Round]]:
    """Pairs in which two calls of 10 s took so many cores each."""
    return [
        {
            "ours": Round(2, 10.0, ours * 20, {"plain": 0.05}, (latencies[0],) * 3),
            "plain": Round(2, 10.0, plain * 20, {"ours": 0.02}, (latencies[1],) * 3),
        }
        for ours, plain in cores
    ]


def cells(text: str) -> dict[str, list[str]]:
    """A table's rows by their first cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]
    return {line[0]: line[1:] for line in lines}


def test_pairs_are_compared_with_each_other_not_with_the_run() -> None:
    # The machine was twice as slow in the last round: that is no difference between the two.
    shown = cells(table("ours", "plain", rounds((0.102, 0.1), (0.104, 0.1), (0.206, 0.2))))
    assert shown["CPU, pair by pair: min / median / max"][2] == ("1.020 / 1.030 / 1.040 (median at most 1.05: kept)")
    assert shown["CPU of a call, median"] == ["104.0 mcore", "100.0 mcore", ""]
    assert shown["CPU without calls"] == ["2.0 mcore", "5.0 mcore", ""]


def test_a_broken_promise_is_named() -> None:
    shown = cells(table("ours", "plain", rounds((0.106, 0.1), latencies=(1.125, 1.1))))
    assert shown["CPU, pair by pair: min / median / max"][2].endswith("(median at most 1.05: BROKEN)")
    assert shown["reply latency p50"] == ["1.125 s", "1.100 s", "+25.0 ms (difference at most 20 ms: BROKEN)"]
    assert shown["reply latency p95"][2] == "+25 ms"


def test_a_worker_that_answered_nothing_is_no_measurement() -> None:
    silent = [{name: Round(1, 1.0, 1.0, {}, ()) for name in ("ours", "plain")}]
    with pytest.raises(ValueError, match="ours has no latencies"):
        table("ours", "plain", silent)


def test_starts_are_compared_pair_by_pair_too() -> None:
    pairs = [
        {OURS: Start(2.0 * slow, 2.5 * slow, 240), PLAIN: Start(4.0 * slow, 5.0 * slow, 480)} for slow in (1, 1.1, 3)
    ]
    shown = cells(start.table(pairs))
    assert shown["CPU until at rest"] == ["2.75 s", "5.5 s", "0.50"]
    assert shown["memory at rest (PSS)"] == ["240 MiB", "480 MiB", "0.50"]
