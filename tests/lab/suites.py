"""Every test there is. Most of them wait for calls and need a processor for moments, so that suites run at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from lab.paths import BUILD, ROOT

_ON_MACHINE = ("images/agent/tests", "tests/lab", "tests/bench", "tests/integration")

# Linters and renders: no clock, no server. They get what the others leave.
COMPUTING = ("-m", "not cluster", "tests/lint", "tools/tests", "tests/examples", "tests/chart")
# In this order: those on the cluster that hold no call, beside which the linters do no harm; those of a call or two
# each, which share the processors; those of many calls, and pods that start under them.
LIVE = (
    ("-m", "cluster or image", *_ON_MACHINE, "tests/chart"),
    ("@tests/side-by-side.args", "-m", "not cluster and not image", *_ON_MACHINE),
    ("tests/e2e",),
)

# pytest: all passed, and some failed; with any other code it did not come to its end.
_ENDED = (0, 1)

_Result = tuple[int, str]


def run() -> int:
    """Run them all; the last line counts them.

    Returns:
        0 if all passed, else 1.
    """
    with _computing() as computing:
        results = [*map(_followed, LIVE), computing()]
    counts = sum((counted(text) for _, text in results), Counter[str]())
    for code, text in results:
        if code not in _ENDED:
            counts["failed"] += 1
            print(f"tests: pytest left with {code}: {text.strip().splitlines()[-1:]}")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}", flush=True)
    return int(counts["failed"] > 0 or counts["passed"] == 0)


@contextmanager
def _computing() -> Iterator[Callable[[], _Result]]:
    """Run those beside the others; what is yielded waits for their end, and prints what was said until then."""
    log = BUILD / "tests" / "computing.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"tests: linters and renders run beside the others, see {log.relative_to(ROOT)}", flush=True)
    with log.open("w") as file:
        process = _start(COMPUTING, stdout=file, stderr=subprocess.STDOUT)

    def result() -> _Result:
        code = process.wait()
        text = log.read_text()
        print(text, flush=True)
        return code, text

    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, 19)
        yield result
    finally:
        process.kill()
        process.wait()


def counted(text: str) -> Counter[str]:
    """How many tests passed, failed and were skipped, by pytest's closing line; an error is a failure."""
    last = (text.strip().splitlines() or [""])[-1]
    counts: Counter[str] = Counter()
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)\b", last):
        counts["failed" if word.startswith("error") else word] += int(number)
    return counts


def _start(arguments: Sequence[str], *, stdout: IO[str] | int, stderr: int | None = None) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("pytest")), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=stdout, stderr=stderr, text=True)


def _followed(arguments: Sequence[str]) -> _Result:
    """Run to the end, while a person reads along."""
    process = _start(arguments, stdout=subprocess.PIPE)
    said: list[str] = []
    try:
        while process.stdout and (piece := process.stdout.read(1)):
            said.append(piece)
            sys.stdout.write(piece)
            sys.stdout.flush()
        return process.wait(), "".join(said)
    finally:
        process.kill()
