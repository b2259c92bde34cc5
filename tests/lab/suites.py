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
# Those that hold no call, or hardly any, on the one cluster there is.
_WAITING = ("tests/e2e/test_argocd.py", "tests/e2e/test_outage.py")
CLUSTER = ("-m", "cluster or image", *_ON_MACHINE, "tests/chart", *_WAITING)
# A call or two each, without a cluster, and quick failures first.
SIDE_BY_SIDE = ("@tests/side-by-side.args", "-m", "not cluster and not image", *_ON_MACHINE)
# Several calls, and pods that start under them: by themselves.
FLEET = ("tests/e2e", *(f"--ignore={path}" for path in _WAITING))

_LOGS = BUILD / "tests"
_LOWEST_PRIORITY = 19
# pytest: all passed, and some failed; with any other code it did not come to its end.
_ENDED = (0, 1)

_Result = tuple[int, str]


def run() -> int:
    """Run them all; the last line counts them.

    Returns:
        0 if all passed, else 1.
    """
    with _beside("computing", COMPUTING, _LOWEST_PRIORITY) as computing:
        with _beside("cluster", CLUSTER) as cluster:
            results = [_followed(SIDE_BY_SIDE), cluster()]
        results += [_followed(FLEET), computing()]
    counts = sum((counted(text) for _, text in results), Counter[str]())
    for code, text in results:
        if code not in _ENDED:
            counts["failed"] += 1
            print(f"tests: pytest left with {code}: {text.strip().splitlines()[-1:]}")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}", flush=True)
    return int(counts["failed"] > 0 or counts["passed"] == 0)


@contextmanager
def _beside(name: str, arguments: Sequence[str], niceness: int = 0) -> Iterator[Callable[[], _Result]]:
    """Run while others are followed; what is yielded waits for the end, and prints what was said until then."""
    log = _LOGS / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    print(f"tests: those of {name} run beside the others, see {log.relative_to(ROOT)}", flush=True)
    with log.open("w") as file:
        process = _start(arguments, stdout=file, stderr=subprocess.STDOUT)

    def result() -> _Result:
        code = process.wait()
        text = log.read_text()
        print(text, flush=True)
        return code, text

    try:
        os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
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
