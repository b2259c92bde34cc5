"""The parts of the overhead bench that need no servers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.cpu import tree_seconds
from bench.paired import Round, table

BUSY_SECONDS = 0.4
# A child that has a child of its own work for a while, and waits for it when told to; says when either is done.
PARENT = f"""
import subprocess, sys
work = "import time\\nwhile time.process_time() < {BUSY_SECONDS}: pass\\nprint(flush=True)\\ninput()"
child = subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
child.stdout.readline()
print("worked", flush=True)
input()
child.communicate("\\n")
print("waited", flush=True)
input()
"""


class Tree:
    """A process whose child works."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def says(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()


@contextmanager
def tree() -> Iterator[Tree]:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Tree(process)
        finally:
            process.kill()


def test_what_a_child_works_counts_while_it_lives_and_when_it_has_ended() -> None:
    with tree() as running:
        assert running.says() == "worked"
        alive = tree_seconds(running.pid)
        running.go_on()
        assert running.says() == "waited"
        ended = tree_seconds(running.pid)
    # The kernel counts in ticks of 0.01 s; two interpreters also start, on a machine that may be busy.
    assert BUSY_SECONDS - 0.05 <= alive < BUSY_SECONDS + 1
    assert alive - 0.05 <= ended < alive + 0.3


def test_of_a_process_that_is_gone_nothing_is_told() -> None:
    with tree() as running:
        pass
    with pytest.raises(ProcessLookupError, match=str(running.pid)):
        tree_seconds(running.pid)


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
