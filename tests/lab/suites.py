"""Every test there is. Most of them wait for calls and need a processor for moments, so that suites run at once."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from lab.paths import BUILD, ROOT

_ON_MACHINE = ("images/agent/tests", "tests/lab", "tests/bench", "tests/integration")

# Needed later, by tests that would wait for it: what fails here fails there again, and is explained there.
BUILDS = (
    (sys.executable, str(ROOT / "tools" / "build.py"), "--all"),
    (str(Path(sys.executable).with_name("lab")), "images"),
)
_SHARING = "@tests/side-by-side.args"
# Linters and renders: no clock, no server. They get what the others leave.
COMPUTING = (_SHARING, "-m", "not cluster", "tests/lint", "tools/tests", "tests/examples", "tests/chart")
# In this order. Of a call or two each: they share the processors, and the images are built beside them.
FEW_CALLS = ("-m", "not cluster and not image", *_ON_MACHINE)
# On the cluster, without a call: they see what is mounted on the machine, as it is while an image is built.
NO_CALLS = ("-m", "cluster or image", *_ON_MACHINE, "tests/chart")
# Many calls, and pods that start under them: for these two cores are hardly enough, even with nothing beside them.
MANY_CALLS = ("tests/e2e",)
_LOG = BUILD / "tests" / "computing.log"
# A machine that is too slow for two calls at a time fails some of its tests, a broken product many.
_TRIED_AGAIN = 10
_INTERRUPTED_SECONDS, _END_SECONDS = 60.0, 30.0
# pytest: all passed, and some failed; with any other code it did not come to its end.
_SOME_FAILED = 1
_ENDED = (0, _SOME_FAILED)


def run() -> int:
    """Run them all; the last line counts them.

    Returns:
        0 if all passed, else 1.
    """
    # Whoever ends this ends the others, too.
    signal.signal(signal.SIGTERM, _leave)
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    with _LOG.open("w+") as log:
        print(f"tests: {' '.join(COMPUTING[3:])} run beside the others, see {_LOG.relative_to(ROOT)}", flush=True)
        beside = _Beside(BUILDS, _pytest(COMPUTING), log)
        try:
            results = two_at_a_time(_SHARING, FEW_CALLS)
            if not beside.is_built(wait=False):
                print("tests: waiting for the images, which are still being built: see there", flush=True)
                beside.is_built(wait=True)
            results.append(_followed(NO_CALLS))
            print("tests: waiting for those that run beside the others", flush=True)
            code = beside.wait()
            results.append(_followed(MANY_CALLS))
        finally:
            beside.end()
        log.seek(0)
        text = log.read()
    print(text, flush=True)
    results.append((code, text))
    counts = sum((counted(text) for _, text in results), Counter[str]())
    for code, text in results:
        if code not in _ENDED:
            counts["failed"] += 1
            print(f"tests: pytest left with {code}: {text.strip().splitlines()[-1:]}")
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}", flush=True)
    return int(counts["failed"] > 0 or counts["passed"] == 0)


def two_at_a_time(sharing: str, suite: Sequence[str]) -> list[tuple[int, str]]:
    """Run a suite, and what has failed on a machine that was full at times once more, one at a time.

    Args:
        sharing: pytest's arguments for two at a time.
        suite: pytest's other arguments.

    Returns:
        The exit codes, and what was said: of the failures of the first run, if they were tried again, nothing.
    """
    remembered = ("-o", f"cache_dir={_LOG.parent / 'cache'}")
    code, text = _followed((*remembered, sharing, *suite))
    counts = counted(text)
    # Those that find the machine full are run again at once, with the other still beside them.
    if code != _SOME_FAILED or not counts["rerun"] or counts["failed"] > _TRIED_AGAIN:
        return [(code, text)]
    print(f"tests: the machine was full; the {counts['failed']} that failed run by themselves now", flush=True)
    again = _followed((*remembered, "--last-failed", "--last-failed-no-failures=none", *suite))
    return [(0, f"{counts['passed']} passed"), again]


def counted(text: str) -> Counter[str]:
    """How many tests passed, failed, were skipped or rerun, by pytest's closing line; an error is a failure."""
    last = (text.strip().splitlines() or [""])[-1]
    counts: Counter[str] = Counter()
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|rerun|errors?)\b", last):
        counts["failed" if word.startswith("error") else word] += int(number)
    return counts


def _rest(process: subprocess.Popen[str]) -> str:
    """What it says up to its end, which it is told to come to if it does not by itself."""
    for seconds in (_INTERRUPTED_SECONDS, _END_SECONDS):
        try:
            return process.communicate(timeout=seconds)[0]
        except subprocess.TimeoutExpired:
            process.terminate()
    return ""


def _leave(*_: object) -> None:
    # Once is enough.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + signal.SIGTERM)


class _Beside:
    """Commands that run one after the other with what processor time others leave.

    Args:
        builds: what others wait for; one that fails keeps none from the next.
        last: the command that follows them.
        log: what all of them say.
    """

    def __init__(self, builds: Sequence[Sequence[str]], last: Sequence[str], log: IO[str]) -> None:
        # Closed by the shell when all is built, or by its end.
        self._built, building = os.pipe()
        # By none of the commands: what one leaves behind keeps nobody waiting.
        commands = [f"{shlex.join(command)} {building}>&-" for command in builds]
        script = "\n".join([*commands, f"exec {building}>&-", shlex.join(last)])
        self._process = subprocess.Popen(
            ["nice", "-n", "19", "bash", "-c", script],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[building],
        )
        os.close(building)
        # Linux gives every session the same share of the processors, whatever niceness its processes have among
        # themselves: see "autogroup" in sched(7). Not every kernel has it.
        with suppress(OSError):
            Path(f"/proc/{self._process.pid}/autogroup").write_text("19")

    def is_built(self, *, wait: bool) -> bool:
        """Whether all builds have ended; True if that is waited for."""
        return bool(select.select([self._built], [], [], None if wait else 0)[0])

    def wait(self) -> int:
        """The last command's exit code, as soon as all have ended."""
        return self._process.wait()

    def end(self) -> None:
        """End those that are still there, and wait for them: the shell does not."""
        group, deadline = self._process.pid, time.monotonic() + _END_SECONDS
        with suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)
            while time.monotonic() < deadline:
                self._process.poll()
                os.killpg(group, 0)
                time.sleep(0.1)
            os.killpg(group, signal.SIGKILL)
        self._process.wait()
        os.close(self._built)


def _pytest(arguments: Sequence[str]) -> list[str]:
    return [str(Path(sys.executable).with_name("pytest")), *arguments]


def _followed(arguments: Sequence[str]) -> tuple[int, str]:
    """Run to the end, while a person reads along."""
    process = subprocess.Popen(_pytest(arguments), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    said: list[str] = []
    try:
        while process.stdout and (piece := process.stdout.read(1)):
            said.append(piece)
            sys.stdout.write(piece)
            sys.stdout.flush()
        return process.wait(), "".join(said)
    except BaseException as reason:
        # It ends what its tests have started, if it is told once: a terminal tells it, too.
        if not isinstance(reason, KeyboardInterrupt):
            process.terminate()
        try:
            sys.stdout.write(_rest(process))
        finally:
            process.kill()
        raise
