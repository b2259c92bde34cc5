"""A caller's process: a plan on the first line of stdin, events on stdout.

``stop`` on stdin finishes the current question and hangs up; so does the end of stdin. The last line is
``{"type": "result", …}``, the call's report.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict

from lab.callers.caller import Caller
from lab.callers.events import Event
from lab.callers.measure import measure
from lab.callers.plan import CallPlan

# As nice values go: real callers have machines of their own, and no agent's start makes their words stutter.
PRIORITY = -10


def _take_priority() -> None:
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    plan = CallPlan.from_json((await stdin.readline()).decode())
    events: list[Event] = []

    def emit(event: Event) -> None:
        events.append(event)
        _write(event.to_json())

    caller = Caller(plan, emit)

    async def obey() -> None:
        while (line := await stdin.readline()) and line.strip() != b"stop":
            pass
        caller.stop()

    obeying = asyncio.create_task(obey())
    await caller.run()
    obeying.cancel()
    report = measure(plan.call, events)
    _write(json.dumps({"type": "result", "ok": report.ok, "findings": report.findings, **asdict(report)}))


def _write(line: str) -> None:
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody listens any more; hanging up is all that is left to do.
        os._exit(1)


if __name__ == "__main__":
    _take_priority()
    # The fleet asks one that does not end where it stands.
    faulthandler.register(signal.SIGUSR1)
    asyncio.run(_main())
    # The client library's threads may still call back into an interpreter that is being torn down, and abort.
    sys.stderr.flush()
    os._exit(0)
