"""The drain: on SIGTERM the pod refuses new calls at once, lets live ones end, and leaves."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from opentelemetry.trace import Span

from voice_agent.telemetry import metrics
from voice_agent.telemetry.traces import tracer

logger = logging.getLogger(__name__)

# From the deadline to the end of the process. Of itself livekit-agents 1.8.9 may take 105 s (15 s for a job's
# entrypoint, 60 s for its session, twice 10 s for its process: ipc/job_proc_lazy_main.py, ipc/supervised_proc.py).
LATE_SECONDS = 2
"""For calls whose successors have come, and are not ready to take them yet."""
LEAVE_SECONDS = 3
"""For jobs to leave when asked; most take about one. Those that stay are killed."""
KILL_SECONDS = 3
"""For killed processes to be gone: livekit-agents waits 0.5 s between its two signals."""
EXIT_SECONDS = 2
"""For our own process, with what the exporters still have."""
SHUTDOWN_SECONDS = LATE_SECONDS + LEAVE_SECONDS + KILL_SECONDS + EXIT_SECONDS

HAND_OVER_SECONDS = 12
"""Kept for handing calls over: six moved in so many on two cores with a load of 17."""
STAGGER_SECONDS = 1.0
GIVE_SECONDS = 5
"""Before the deadline a turn boundary is no longer waited for: so long an agent's last words and the state may take."""

# The kubelet counts the grace from its own signal, the API server from the request, in whole seconds.
_CLOCKS_SECONDS = 2
_POLL_SECONDS = 0.1


class Outcome(StrEnum):
    """How a call ended, as seen from the pod."""

    FINISHED = "finished"
    """By itself: the caller or the agent left."""
    MOVED = "moved"
    """Another agent has it, in most cases another pod's."""
    CUT = "cut"
    """At the drain deadline no other pod had it. Keepers, if there are any, have one take it up."""
    FAILED = "failed"
    """Its process died."""


class DrainableServer(Protocol):
    """What a drain needs of the agent server."""

    outcomes: Counter[Outcome]

    def running(self) -> Collection[str]:
        """IDs of the jobs that run."""

    def hand_over(self, job: str, within: float) -> bool:
        """Ask a job to give its call to another pod in `within` seconds; False when it cannot be asked."""

    def giving(self) -> Collection[str]:
        """IDs of the jobs whose successors have come, and have not taken the call yet."""

    def cut(self, *, spare: Collection[str] = ()) -> Collection[str]:
        """The deadline has come: have the jobs that no other pod has relieved let go of their calls; returns their IDs.

        From now on their end is not theirs but the deadline's. May be called again, for those that were spared.
        """

    async def close_to_new_calls(self) -> None:
        """Tell LiveKit to send no more calls, and wait for the last call to end."""

    async def aclose(self) -> None:
        """Ask what still runs to leave, wait for that, and close."""

    async def kill(self) -> None:
        """Kill what still runs."""


@dataclass(frozen=True)
class Report:
    """What became of the calls that were live when the drain began."""

    finished: int
    moved: int
    cut: int
    failed: int
    seconds: float
    """From the signal until every job's process was gone."""

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
    """One drain in a process's life, asked for by any number of signals.

    Args:
        timeout_seconds: how long calls may go on; less if the pod turns out to have less time, see `expect_kill`.
        finish_within_seconds: how long they may end by themselves before they are handed over; at most half of the
            time, and all but HAND_OVER_SECONDS.
        kept: whether there are keepers, who have calls that are cut taken up by other pods.
    """

    def __init__(self, timeout_seconds: float, finish_within_seconds: float, *, kept: bool = False) -> None:
        self._timeout = timeout_seconds
        self._finish_within = finish_within_seconds
        self._kept = kept
        self._asked = asyncio.Event()
        self._shortened = asyncio.Event()
        self._began = 0.0
        self._deadline = math.inf
        self._killed_at = math.inf

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
        self._deadline = self._began + self._timeout
        self._asked.set()
        self._shorten()
        metrics.DRAINING.set(1)

    def expect_kill(self, seconds: float) -> None:
        """Be gone in `seconds`: then the pod is killed. May be told before the drain begins, and again.

        The deadline never moves back.
        """
        self._killed_at = time.monotonic() + seconds
        self._shorten()

    async def until_asked(self) -> None:
        """Wait for the first signal."""
        await self._asked.wait()

    async def run(self, server: DrainableServer) -> Report:
        """Drain `server` and close it; the calls that still run at the deadline are cut."""
        before = server.outcomes.copy()
        with tracer.start_as_current_span("drain") as span:
            span.set_attribute("voice_agent.drain.calls", len(server.running()))
            logger.info("draining: no new calls; live calls: %d, for at most %.0f s", len(server.running()), self._left)
            await self._until_calls_end(server)
            closed = await self._close(server)
            ended = server.outcomes - before
            report = Report(
                finished=ended[Outcome.FINISHED],
                moved=ended[Outcome.MOVED],
                cut=ended[Outcome.CUT] + (0 if closed else len(server.running())),
                failed=ended[Outcome.FAILED],
                seconds=time.monotonic() - self._began,
            )
            _describe(span, report)
        return report

    async def _until_calls_end(self, server: DrainableServer) -> None:
        calls_end = asyncio.ensure_future(server.close_to_new_calls())
        # Even with no time left, one turn of the loop lets the server close itself to new calls.
        await asyncio.wait({calls_end}, timeout=0.1)
        await self._wait(calls_end, lambda: self._left_to_finish)
        handing_over = asyncio.ensure_future(self._hand_over(server))
        await self._wait(calls_end, lambda: self._left)
        handing_over.cancel()
        if calls_end.done():
            calls_end.result()
            return
        cut = set(server.cut(spare=server.giving()))
        until = time.monotonic() + LATE_SECONDS
        while server.giving() and time.monotonic() < until:
            await asyncio.wait({calls_end}, timeout=_POLL_SECONDS)
        cut |= set(server.cut())
        calls_end.cancel()
        if cut:
            logger.warning(
                "the drain deadline has come; calls that are cut: %d%s",
                len(cut),
                "; the keepers have other pods take them up" if self._kept else "",
                extra={"jobs": list(cut)},
            )

    async def _wait(self, end: asyncio.Future[None], left: Callable[[], float]) -> None:
        """Wait for `end`, or until nothing is left."""
        while not end.done() and (seconds := left()) > 0:
            self._shortened.clear()
            shortened = asyncio.ensure_future(self._shortened.wait())
            events: set[asyncio.Future[Any]] = {end, shortened}
            await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            shortened.cancel()

    async def _hand_over(self, server: DrainableServer) -> None:
        asked: set[str] = set()
        deadline = self._deadline
        while True:
            running = server.running()
            if self._deadline < deadline:
                deadline = self._deadline
                for job in asked & set(running):
                    server.hand_over(job, self._left_to_wait)
            waiting = sorted(set(running) - asked)
            # One that has only just begun is not connected yet: look again.
            ready = next((job for job in waiting if server.hand_over(job, self._left_to_wait)), None)
            asked |= {ready} if ready else set()
            # A pod that gives all its calls away at once would have its successors start all their processes at
            # once; half of the time stays for the last call's own turn.
            await asyncio.sleep(min(STAGGER_SECONDS, self._left_to_wait / 2 / max(1, len(waiting))))

    @property
    def _left(self) -> float:
        return max(0.0, self._deadline - time.monotonic())

    @property
    def _left_to_finish(self) -> float:
        time_in_all = self._deadline - self._began
        within = min(self._finish_within, time_in_all / 2, time_in_all - HAND_OVER_SECONDS)
        return self._began + within - time.monotonic()

    @property
    def _left_to_wait(self) -> float:
        return max(self._left - GIVE_SECONDS, self._left / 2)

    def _shorten(self) -> None:
        deadline = self._killed_at - SHUTDOWN_SECONDS
        if not self.asked or deadline > self._deadline - _CLOCKS_SECONDS:
            return
        self._deadline = deadline
        self._shortened.set()
        logger.warning("the pod has less time than its drain takes: live calls may go on for %.0f s more", self._left)

    async def _close(self, server: DrainableServer) -> bool:
        closing = asyncio.ensure_future(server.aclose())
        await asyncio.wait({closing}, timeout=LEAVE_SECONDS)
        if not closing.done():
            logger.error(
                "jobs did not leave within %.0f s of being asked to; they are killed",
                LEAVE_SECONDS,
                extra={"jobs": list(server.running())},
            )
            killing = asyncio.ensure_future(server.kill())
            await asyncio.wait({closing}, timeout=KILL_SECONDS)
            killing.cancel()
        if not closing.done():
            closing.cancel()
            return False
        closing.result()
        return True


def _describe(span: Span, report: Report) -> None:
    span.set_attribute("voice_agent.drain.finished", report.finished)
    span.set_attribute("voice_agent.drain.moved", report.moved)
    span.set_attribute("voice_agent.drain.cut", report.cut)
    span.set_attribute("voice_agent.drain.failed", report.failed)
