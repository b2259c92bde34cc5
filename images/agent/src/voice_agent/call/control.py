"""The job's end of the pod's control socket: the worker asks here that the call be handed over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from voice_agent.call.errand import Kind
from voice_agent.call.recovery import Fresh

logger = logging.getLogger(__name__)


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> bytes:
        """As one line of JSON."""
        return self.model_dump_json().encode() + b"\n"


class Hello(_Line):
    """The job's first line."""

    job: str


class HandOver(_Line):
    """The worker's order: give the call to another pod."""

    within: float
    """Seconds until the call is cut."""


class Result(StrEnum):
    """How one try to hand a call over ended."""

    TAKEN = "taken"
    """Another pod has the call."""
    FAILED = "failed"
    """The call went on here; there may be another try."""
    GIVEN_UP = "given_up"
    """The deadline came."""


class Tried(_Line):
    """What the job tells of a handover. Metrics are the worker's: a job's end with its process."""

    result: Result


class Restored(_Line):
    """What the job tells once it has a call that another agent began."""

    kind: Kind
    fresh: Fresh | None = None
    """Why the conversation began anew; None if it goes on."""


class Control:
    """One job's connection to its worker."""

    def __init__(self, job: str, hand_over: Callable[[float], AsyncIterator[Result]]) -> None:
        self._job = job
        self._hand_over = hand_over
        self._writer: asyncio.StreamWriter | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, path: str) -> None:
        """Connect and listen in the background. Without the socket the call goes on, and is cut by a drain."""
        try:
            reader, self._writer = await asyncio.open_unix_connection(path)
        except OSError:
            logger.exception("no control socket: this call cannot be handed over")
            return
        self._writer.write(Hello(job=self._job).line())
        # A task that nobody refers to may be collected, silently.
        self._keep(self._listen(reader))

    def tell(self, restored: Restored) -> None:
        """Have it counted by the worker, if that is connected."""
        if self._writer is not None:
            self._writer.write(restored.line())

    async def aclose(self) -> None:
        """Close the connection."""
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            try:
                order = HandOver.model_validate_json(line)
            except ValidationError:
                logger.exception("an order of the worker was not understood")
                continue
            self._keep(self._obey(order))

    async def _obey(self, order: HandOver) -> None:
        async for result in self._hand_over(order.within):
            if self._writer is not None:
                self._writer.write(Tried(result=result).line())
                await self._writer.drain()

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
