"""Every test there is. Most of them wait for calls and need a processor for moments, so that suites run at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
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
_LOG = BUILD / "tests" / "computing.log"
# pytest: all passed, and some failed; with any other code it did not come to its end.
_ENDED = (0, 1)


def run() -> int:
    """Run them all; the last line counts them.

    Returns:
        0 if all passed, else 1.
    """
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    with _LOG.open("w+") as log:
        print(f"tests: {' '.join(COMPUTING[2:])} run beside the others, see {_LOG.relative_to(ROOT)}", flush=True)
        beside = _start(COMPUTING, stdout=log, stderr=subprocess.STDOUT)
        try:
            os.setpriority(os.PRIO_PROCESS, beside.pid, 19)
            results = [_followed(arguments) for arguments in LIVE]
            beside.wait()
        finally:
            beside.kill()
        log.seek(0)
        text = log.read()
    print(text, flush=True)
    results.append((beside.returncode, text))
    counts = sum((counted(text) for _, text in results), Counter[str]())
    for code, text in results:
        if code not in _ENDED:
            counts["failed"] += 1
            print(f"tests: pytest left with {code}: {text.strip().splitlines()[-1:]}")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}", flush=True)
    return int(counts["failed"] > 0 or counts["passed"] == 0)


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


def _followed(arguments: Sequence[str]) -> tuple[int, str]:
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
