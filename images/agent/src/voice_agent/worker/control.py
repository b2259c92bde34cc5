"""The worker's end of the control socket: it tells the jobs of this pod to hand their calls over."""

from __future__ import annotations

import asyncio
import logging
import math
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from prometheus_client import Counter
from pydantic import TypeAdapter, ValidationError

from voice_agent.call.control import Counted, HandOver, Hello, LetGo, Met, Restored, Result, Superseded, Tried
from voice_agent.call.errand import Kind
from voice_agent.call.recovery import Fresh
from voice_agent.telemetry import metrics

logger = logging.getLogger(__name__)

_Told = Tried | Met | Superseded | Restored | Counted
_TOLD: TypeAdapter[_Told] = TypeAdapter(_Told)


def _restores(told: Restored) -> Counter:
    return metrics.RESTORES.labels(told.kind, "fresh" if told.fresh else "restored", told.fresh or "")


class Jobs:
    """The jobs that are connected, and what they told."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="voice-agent-")
        self.path = str(Path(self._folder.name) / "control")
        self.moved: set[str] = set()
        """IDs of the jobs whose calls other pods have taken."""
        self.superseded: set[str] = set()
        """IDs of the jobs that found other agents to have their calls."""
        self.met: set[str] = set()
        """IDs of the jobs whose successors have come, and have not taken the call yet."""
        self.model_lost_at = -math.inf
        """When Gemini was out of a job's reach, or refused it, the last time, `time.monotonic()`."""
        self._jobs: dict[str, asyncio.StreamWriter] = {}
        # Prometheus sees no increase in a series that begins with 1.
        for told in [Restored(kind=kind) for kind in Kind] + [Restored(kind=Kind.RECOVERY, fresh=why) for why in Fresh]:
            _restores(told)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take connections at `path`."""
        server = await asyncio.start_unix_server(self._serve, self.path)
        try:
            yield
        finally:
            server.close()
            self._folder.cleanup()

    def hand_over(self, job: str, within: float) -> bool:
        """Ask `job` to hand its call over in `within` seconds; False when it is not connected.

        Asked again, it is only the deadline that moves.
        """
        return self._order(job, HandOver(within=within))

    def let_go(self, job: str) -> None:
        """Have `job` leave its caller to the keepers; the end of its process is not waited for."""
        self._order(job, LetGo())

    def _order(self, job: str, order: HandOver | LetGo) -> bool:
        writer = self._jobs.get(job)
        if writer is None or writer.is_closing():
            return False
        writer.write(order.line())
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        job = ""
        try:
            job = Hello.model_validate_json(await reader.readline()).job
            self._jobs[job] = writer
            while line := await reader.readline():
                self._take(job, _TOLD.validate_json(line))
        except (ValidationError, ConnectionError):
            logger.warning("a job's control connection failed", extra={"job_id": job}, exc_info=True)
        finally:
            self._jobs.pop(job, None)
            self.met.discard(job)
            writer.close()

    def _take(self, job: str, told: _Told) -> None:
        if isinstance(told, Counted):
            metrics.add(told.counted, *told.labels)
            if told.counted == metrics.MODEL_LOST and metrics.FAILED not in told.labels:
                self.model_lost_at = time.monotonic()
            return
        if isinstance(told, Restored):
            _restores(told).inc()
            return
        if isinstance(told, Met):
            self.met.add(job)
            return
        self.met.discard(job)
        if isinstance(told, Superseded):
            self.superseded.add(job)
            return
        metrics.HANDOVERS.labels(told.result).inc()
        if told.result is Result.TAKEN:
            self.moved.add(job)
