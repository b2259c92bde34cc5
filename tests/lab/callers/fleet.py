"""Many calls at once, each in a process of its own, and the controller that a test or the demo steers them with."""

# ruff: noqa: ASYNC109 - a controller's waits name the calls that fell short, which a caller's asyncio.timeout cannot

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType

from lab.callers.events import Asked, Event, Finished, Heard, Lost, parse
from lab.callers.measure import measure
from lab.callers.plan import CallPlan
from lab.callers.results import CallReport
from lab.callers.stalls import stalls
from lab.interpreters import Process, start
from lab.signals import Kind

_HANG_UP_SECONDS = 10.0
# For a process to tell where it stands.
_STACK_SECONDS = 2.0
# Shorter ones are the loop's own work.
_STALL_SECONDS = 0.25
_NONE: Mapping[str, str] = {}


class TurnCount:
    """How far a call has come, told by its events.

    Attributes:
        answered: the questions answered in time, by number.
        lost: the questions not answered in time.
    """

    def __init__(self, call: int) -> None:
        self.answered: set[int] = set()
        self.lost: set[int] = set()
        self._call = call
        self._latest = 0

    @property
    def ended(self) -> int:
        """Turns that came to an end, well or not."""
        return len(self.answered) + len(self.lost)

    def take(self, event: Event) -> None:
        """Count an event."""
        match event:
            case Asked():
                self._latest = event.question
            case Heard() if event.kind == Kind.ANSWER and event.call == self._call:
                question = self._number(event.question)
                if question not in self.lost:
                    self.answered.add(question)
            case Lost():
                self.lost.add(event.question)
            case _:
                pass

    def _number(self, byte: int) -> int:
        """The question nearest the latest one whose number ends in this byte, which is all that a frame carries."""
        return self._latest + (byte - self._latest + 128) % 256 - 128


@dataclass
class _Call:
    plan: CallPlan
    process: Process
    count: TurnCount
    events: list[Event] = field(default_factory=list)
    complaints: deque[str] = field(default_factory=lambda: deque(maxlen=60))
    finished: bool = False

    def take(self, event: Event) -> None:
        """Note an event that the process wrote."""
        self.events.append(event)
        self.count.take(event)
        self.finished = self.finished or isinstance(event, Finished)

    def state(self) -> str:
        """The call in a line, for error messages."""
        last = self.events[-1].to_json() if self.events else "it wrote no event"
        errors = "; stderr: " + " | ".join(self.complaints) if self.complaints else ""
        turns = f"{len(self.count.answered)} answered, {len(self.count.lost)} lost"
        return f"call {self.plan.call}: {turns}; last: {last}{errors}"


class CallFleet:
    """Calls that run while something happens to the agents.

    Args:
        plan: what every call does; rooms, call numbers and seeds are numbered.
        calls: how many calls.
        stagger_s: seconds between two calls' beginnings, so that not all processes start at the same instant.
        on_event: told every event with its call's number.
        variables: what every process has in its environment besides, or instead.
    """

    def __init__(
        self,
        plan: CallPlan,
        calls: int,
        *,
        stagger_s: float = 0.3,
        on_event: Callable[[int, Event], None] | None = None,
        variables: Mapping[str, str] = _NONE,
    ) -> None:
        if not 1 <= calls <= 255:
            raise ValueError(f"calls is {calls}: a fleet has 1 to 255")
        self._plans = [plan.numbered(number) for number in range(1, calls + 1)]
        self._stagger_s = stagger_s
        self._on_event = on_event
        self._environment = {**os.environ, **variables}
        self._calls: list[_Call] = []
        self._watching: asyncio.Task[None] | None = None
        self._reading: list[asyncio.Task[None]] = []
        self._changed = asyncio.Condition()
        self._longest_stall_s = 0.0

    async def __aenter__(self) -> CallFleet:
        self._watching = asyncio.create_task(self._watch())
        try:
            for plan in self._plans:
                await self._start(plan)
                await asyncio.sleep(self._stagger_s)
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running = [call.process for call in self._calls if call.process.returncode is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                await asyncio.wait_for(process.wait(), 5)
            except TimeoutError:
                process.kill()
                await process.wait()
        tasks = [*self._reading, *([self._watching] if self._watching else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def all_answering(self, timeout: float = 120) -> None:
        """Wait until every call has had its first answer.

        Raises:
            TimeoutError: a call has had none, or ended before; the message tells each such call's state.
        """
        await self._until(lambda call: bool(call.count.answered), timeout, "have had no answer", dead_is_done=False)

    async def more_answers(self, count: int, timeout: float | None = None) -> None:
        """Wait until every live call has had so many further answers or lost turns.

        Raises:
            TimeoutError: by default after ``count`` times the plan's answer timeout, and a minute.
        """
        before = {call.plan.call: call.count.ended for call in self._calls}
        plan = self._plans[0]
        limit = timeout if timeout is not None else count * (plan.answer_timeout_s + plan.pause_s * 2 + 5) + 60
        await self._until(
            lambda call: call.count.ended >= before[call.plan.call] + count, limit, "came no further", dead_is_done=True
        )

    async def finish(self, timeout: float | None = None) -> list[CallReport]:
        """Let every call finish its question and hang up; a process that does not end is killed, its call lost."""
        for call in self._calls:
            stdin = call.process.stdin
            if call.process.returncode is None and stdin is not None and not stdin.is_closing():
                try:
                    stdin.write(b"stop\n")
                    await stdin.drain()
                except ConnectionError:
                    continue
        limit = timeout if timeout is not None else self._plans[0].answer_timeout_s + 45
        await asyncio.wait(self._reading, timeout=limit)
        for call in self._calls:
            if call.process.returncode is None:
                await self._kill(call)
        await asyncio.wait(self._reading, timeout=_HANG_UP_SECONDS)
        reports = [measure(call.plan.call, call.events) for call in self._calls]
        return [
            replace(report, longest_stall_s=max(report.longest_stall_s, self._longest_stall_s)) for report in reports
        ]

    @property
    def complaints(self) -> dict[int, list[str]]:
        """The last lines that the calls' processes wrote to stderr, by call."""
        return {call.plan.call: list(call.complaints) for call in self._calls if call.complaints}

    async def _start(self, plan: CallPlan) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await start("-m", "lab.callers", environment=self._environment, stdin=pipe, stdout=pipe, stderr=pipe)
        call = _Call(plan, process, TurnCount(plan.call))
        self._calls.append(call)
        if process.stdin is None or process.stdout is None or process.stderr is None:
            raise AssertionError("pipes were asked for")
        self._reading += [
            asyncio.create_task(self._read(call, process.stdout)),
            asyncio.create_task(self._read_errors(call, process.stderr)),
        ]
        process.stdin.write(plan.to_json().encode() + b"\n")
        await process.stdin.drain()

    async def _kill(self, call: _Call) -> None:
        """End a process that has not hung up, and print where it stood."""
        said = len(call.complaints)
        call.process.send_signal(signal.SIGUSR1)
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: len(call.complaints) > said), _STACK_SECONDS)
        call.process.kill()
        await call.process.wait()
        print(f"{call.state()}\n  it did not hang up, and was killed")

    async def _watch(self) -> None:
        """Callers run before all others where they may; this tells how long what does not has waited."""
        async for due, now in stalls(_STALL_SECONDS):
            self._longest_stall_s = max(self._longest_stall_s, now - due)

    async def _read(self, call: _Call, stdout: asyncio.StreamReader) -> None:
        while line := await stdout.readline():
            event = parse(line.decode(errors="replace"))
            if event is None:
                continue
            call.take(event)
            if self._on_event:
                self._on_event(call.plan.call, event)
            async with self._changed:
                self._changed.notify_all()
        await call.process.wait()
        call.finished = True
        async with self._changed:
            self._changed.notify_all()

    async def _read_errors(self, call: _Call, stderr: asyncio.StreamReader) -> None:
        while line := await stderr.readline():
            call.complaints.append(line.decode(errors="replace").rstrip())
            async with self._changed:
                self._changed.notify_all()

    async def _until(
        self, done: Callable[[_Call], bool], timeout: float, complaint: str, *, dead_is_done: bool
    ) -> None:
        def pending() -> list[_Call]:
            return [call for call in self._calls if not done(call) and not (dead_is_done and call.finished)]

        def settled() -> bool:
            left = pending()
            return not left or (not dead_is_done and any(call.finished for call in left))

        async with self._changed:
            waiting: Awaitable[bool] = self._changed.wait_for(settled)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(waiting, timeout)
        left = pending()
        if left:
            states = "\n  ".join(call.state() for call in left)
            raise TimeoutError(
                f"{len(left)} of {len(self._calls)} calls {complaint} (limit {timeout:g} s):\n  {states}"
            )
