"""How long pods take to go, as the API server tells it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from lab.stage import Stage

_FORMAT = 'jsonpath={.type} {.object.metadata.name} {.object.metadata.deletionTimestamp}{"\\n"}'


class Departures:
    """The pods that went, and for how long each was on its way.

    Attributes:
        seconds: from a pod's notice to its end, by its name.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def take(self, line: str, now: float) -> None:
        """A line of the watch: the event's type, the pod's name, and when it is to be gone if it was told to go."""
        kind, name, *deadline = line.split()
        if deadline:
            self._told.setdefault(name, now)
        if kind == "DELETED" and name in self._told:
            self.seconds[name] = now - self._told[name]


@asynccontextmanager
async def watch(stage: Stage) -> AsyncIterator[Departures]:
    """Watch the workers' pods for as long as the context lasts. An outage of the API server ends it early."""
    command = stage.kubectl.command(
        "kubectl", "get", "pods", "-l", stage.selector, "--watch", "--output-watch-events", "-o", _FORMAT
    )
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    departures = Departures()

    async def read() -> None:
        while process.stdout and (line := await process.stdout.readline()):
            departures.take(line.decode(), time.monotonic())

    reading = asyncio.create_task(read())
    try:
        yield departures
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
        await reading
