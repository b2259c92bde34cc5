"""What the benches measure of a process's tree is all of it, and once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.tree import tree_mebibytes, tree_seconds

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


def test_what_processes_share_counts_once() -> None:
    size = 64
    program = f"import os\nheld = os.urandom({size} << 20)\nos.fork()\nprint(flush=True)\nos.read(0, 1)"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        both = [process.stdout.readline(), process.stdout.readline()]
        held = tree_mebibytes(process.pid)
        process.communicate(b"\n\n")
    assert both == [b"\n"] * 2
    assert size <= held < size * 1.8


def test_of_a_process_that_is_gone_nothing_is_told() -> None:
    with tree() as running:
        pass
    with pytest.raises(ProcessLookupError, match=str(running.pid)):
        tree_seconds(running.pid)
    with pytest.raises(ProcessLookupError, match=str(running.pid)):
        tree_mebibytes(running.pid)
