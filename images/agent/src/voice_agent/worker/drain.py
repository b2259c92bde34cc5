"""The drain: on SIGTERM the pod refuses new calls at once, lets live ones end, and leaves."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from opentelemetry.trace import Span

from voice_agent.telemetry import metrics
from voice_agent.telemetry.traces import tracer

logger = logging.getLogger(__name__)

# What livekit-agents 1.8.9 may take from the deadline to the end of the process: 15 s until a job's entrypoint
# is cancelled, 60 s to close its session (both fixed in ipc/job_proc_lazy_main.py), 10 s for the callback at
# the session's end, and twice 10 s for its process to answer and to leave (both set by us, see server.py).
SESSION_END_TIMEOUT_SECONDS = 10
PROCESS_TIMEOUT_SECONDS = 10
SHUTDOWN_SECONDS = 15 + 60 + SESSION_END_TIMEOUT_SECONDS + 2 * PROCESS_TIMEOUT_SECONDS

STAGGER_SECONDS = 0.5


class Outcome(StrEnum):
    """How a call ended, as seen from the pod."""

    FINISHED = "finished"
    """By itself: the caller or the agent left."""
    MOVED = "moved"
    """Another pod has it."""
    CUT = "cut"
    """At the drain deadline."""
    FAILED = "failed"
    """Its process died."""


class DrainableServer(Protocol):
    """What a drain needs of the agent server."""

    outcomes: Counter[Outcome]

    def running(self) -> Collection[str]:
        """IDs of the jobs that run."""

    def hand_over(self, job: str, within: float) -> bool:
        """Ask a job to give its call to another pod in `within` seconds; False when it cannot be asked."""

    def cut(self, jobs: Collection[str]) -> None:
        """From now on the end of these jobs is not theirs but the deadline's."""

    async def close_to_new_calls(self) -> None:
        """Tell LiveKit to send no more calls, and wait for the last call to end."""

    async def aclose(self) -> None:
        """End what still runs, and close."""


@dataclass(frozen=True)
class Report:
    """What became of the calls that were live when the drain began."""

    finished: int
    moved: int
    cut: int
    failed: int
    seconds: float
    """From the signal until every job's process was gone."""
    jobs_left: bool = False
    """Whether jobs ignored every request to leave."""

    @property
    def lost(self) -> int:
        """Calls that did not end by themselves."""
        return self.cut + self.failed

    def __str__(self) -> str:
        return (
            f"drained in {self.seconds:.1f} s; calls: {self.finished} finished, {self.moved} moved, "
            f"{self.cut} cut at the deadline, {self.failed} failed"
        )


class Drain:
    """One drain in a process's life, asked for by any number of signals."""

    def __init__(self, timeout_seconds: float, finish_within_seconds: float) -> None:
        self._timeout = timeout_seconds
        self._finish_within = finish_within_seconds
        self._asked = asyncio.Event()
        self._began = 0.0

    @property
    def asked(self) -> bool:
        """Whether the drain has begun: no call may be taken from now on."""
        return self._asked.is_set()

    def ask(self, reason: str) -> None:
        """Begin to drain. Asked again, go on as before: leaving sooner would cut calls."""
        if self.asked:
            logger.warning("%s: already draining; live calls may go on for %.0f s more", reason, self._left)
            return
        self._began = time.monotonic()
        self._asked.set()
        metrics.DRAINING.set(1)

    async def until_asked(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()

    async def run(self, server: DrainableServer) -> Report:
        """Drain `server` and close it; the calls that still run at the deadline are cut."""
        before = server.outcomes.copy()
        with tracer.start_as_current_span("drain") as span:
            span.set_attribute("voice_agent.drain.calls", len(server.running()))
            logger.info(
                "draining: no new calls; live calls: %d, for at most %.0f s", len(server.running()), self._timeout
            )
            await self._until_calls_end(server)
            closed = await self._close(server)
            ended = server.outcomes - before
            report = Report(
                finished=ended[Outcome.FINISHED],
                moved=ended[Outcome.MOVED],
                cut=ended[Outcome.CUT] + (0 if closed else len(server.running())),
                failed=ended[Outcome.FAILED],
                seconds=time.monotonic() - self._began,
                jobs_left=not closed,
            )
            _describe(span, report)
        return report

    async def _until_calls_end(self, server: DrainableServer) -> None:
        calls_end = asyncio.ensure_future(server.close_to_new_calls())
        # Even with no time left, one turn of the loop lets the server close itself to new calls.
        await asyncio.wait({calls_end}, timeout=max(min(self._finish_within, self._left), 0.1))
        handing_over = asyncio.ensure_future(self._hand_over(server))
        await asyncio.wait({calls_end}, timeout=max(self._left, 0.1))
        handing_over.cancel()
        if calls_end.done():
            calls_end.result()
            return
        calls_end.cancel()
        running = server.running()
        logger.warning(
            "the drain deadline has come; calls that are cut: %d", len(running), extra={"jobs": list(running)}
        )
        server.cut(running)

    async def _hand_over(self, server: DrainableServer) -> None:
        asked: set[str] = set()
        while waiting := sorted(set(server.running()) - asked):
            # One that has only just begun is not connected yet: look again.
            ready = next((job for job in waiting if server.hand_over(job, self._left)), None)
            asked |= {ready} if ready else set()
            # A pod that gives all its calls away at once would have its successors start all their processes at
            # once; half of the time stays for the last call's own turn.
            await asyncio.sleep(min(STAGGER_SECONDS, self._left / 2 / len(waiting)))

    @property
    def _left(self) -> float:
        return max(0.0, self._began + self._timeout - time.monotonic())

    async def _close(self, server: DrainableServer) -> bool:
        try:
            await asyncio.wait_for(server.aclose(), SHUTDOWN_SECONDS)
        except TimeoutError:
            logger.error("jobs did not leave within %d s of being asked to", SHUTDOWN_SECONDS)  # noqa: TRY400
            return False
        return True


def _describe(span: Span, report: Report) -> None:
    span.set_attribute("voice_agent.drain.finished", report.finished)
    span.set_attribute("voice_agent.drain.moved", report.moved)
    span.set_attribute("voice_agent.drain.cut", report.cut)
    span.set_attribute("voice_agent.drain.failed", report.failed)
