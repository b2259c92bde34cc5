"""The job's end of the pod's control socket: the worker asks here that the call be handed over, or let go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from voice_agent.call.errand import Kind
from voice_agent.call.recovery import Fresh
from voice_agent.telemetry import metrics

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
    """The worker's order: give the call to another pod. Given again, it only moves the deadline."""

    within: float
    """Seconds for which a turn boundary may be waited for."""


class LetGo(_Line):
    """The worker's order at the drain's deadline: leave the caller to whom the keepers send."""

    let_go: Literal[True] = True


_ORDER: TypeAdapter[HandOver | LetGo] = TypeAdapter(HandOver | LetGo)


class Deadline:
    """A moment that may move while it is waited for.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.move(seconds)

    @property
    def passed(self) -> bool:
        """Whether it has come."""
        return self.left <= 0

    @property
    def left(self) -> float:
        """Seconds until it comes; negative once it has passed."""
        return self._at - time.monotonic()

    def move(self, seconds: float) -> None:
        """To so many seconds from now."""
        self._at = time.monotonic() + seconds


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


class Met(_Line):
    """What the job tells when a successor has come for its call; until it tells how the try ended."""

    met: Literal[True] = True


class Superseded(_Line):
    """What the job tells when it leaves because another agent has the call, to which it did not give it."""

    superseded: Literal[True] = True


class Restored(_Line):
    """What the job tells once it has a call that another agent began."""

    kind: Kind
    fresh: Fresh | None = None
    """Why the conversation began anew; None if it goes on."""


class Counted(_Line):
    """What the job tells of a counter in `metrics.OF_CALLS`."""

    counted: str
    labels: tuple[str, ...] = ()


async def tell_counts(job: str, path: str) -> None:
    """Tell the worker what was counted in a job that has no call to be asked for.

    Args:
        job: its ID.
        path: of the control socket.
    """

    async def hand_over(_: Deadline) -> AsyncIterator[Result]:
        no_results: tuple[Result, ...] = ()
        for result in no_results:
            yield result

    async def let_go() -> None:
        pass

    control = Control(job, hand_over, let_go)
    await control.start(path)
    metrics.tell_counts(control.count)
    await control.aclose()


class Control:
    """One job's connection to its worker.

    Args:
        job: its ID.
        hand_over: tries to give the call to another pod.
        let_go: gives it up.
    """

    def __init__(
        self, job: str, hand_over: Callable[[Deadline], AsyncIterator[Result]], let_go: Callable[[], Awaitable[None]]
    ) -> None:
        self._job = job
        self._hand_over = hand_over
        self._let_go = let_go
        self._deadline: Deadline | None = None
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

    def tell(self, told: Restored | Met | Superseded) -> None:
        """Tell the worker, if that is connected."""
        if self._writer is not None:
            self._writer.write(told.line())

    def count(self, name: str, labels: tuple[str, ...]) -> None:
        """Have something counted by the worker, if that is connected."""
        if self._writer is not None:
            self._writer.write(Counted(counted=name, labels=labels).line())

    async def aclose(self) -> None:
        """Close the connection."""
        for task in self._tasks:
            task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            try:
                order = _ORDER.validate_json(line)
            except ValidationError:
                logger.exception("an order of the worker was not understood")
                continue
            if isinstance(order, LetGo):
                self._keep(self._let_go())
            elif self._deadline is None:
                self._deadline = Deadline(order.within)
                self._keep(self._offer(self._deadline))
            else:
                self._deadline.move(order.within)

    async def _offer(self, deadline: Deadline) -> None:
        async for result in self._hand_over(deadline):
            if self._writer is not None:
                self._writer.write(Tried(result=result).line())
                await self._writer.drain()

    def _keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
