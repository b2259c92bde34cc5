"""The LiveKit agent server of one pod: its load is its call slots, and it never gives up on LiveKit."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping
from functools import partial
from multiprocessing.context import BaseContext

from livekit.agents import AgentServer, JobRequest
from livekit.agents.ipc.job_executor import JobExecutor, JobStatus
from livekit.agents.ipc.supervised_proc import SupervisedProc
from livekit.protocol import agent

from voice_agent.call import errand as errands
from voice_agent.call import process, session
from voice_agent.call.errand import Kind
from voice_agent.settings import Settings
from voice_agent.telemetry import metrics
from voice_agent.worker.acceptance import Acceptance
from voice_agent.worker.control import Jobs
from voice_agent.worker.drain import Drain, Outcome
from voice_agent.worker.slots import ALMOST_FULL, FULL_THRESHOLD, NoFreeSlotError, Slots
from voice_agent.worker.standing import Standing

logger = logging.getLogger(__name__)

# With the default (16 attempts, about 130 s) an outage of the signalling makes every worker drain and leave.
RETRY_FOR_EVER = sys.maxsize

# A starved node is slow, not broken; livekit-agents' own 10 s has it kill and start processes in a loop.
PROCESS_START_TIMEOUT_SECONDS = 60

# For so long the calls that lost the model here are left to other pods. Were it longer, calls that every pod has lost
# would wait when the model is back.
LACKS_MODEL_SECONDS = 10.0

LEAVE_GEMINI_SECONDS = 1.0

# By name: what it imports and builds, this process has no use for.
PRELOAD = "voice_agent.worker.preload"

# Lets a caller, or an operator who looks at the room, know which pod serves the call.
POD_ATTRIBUTE = "voice-agent.pod"


def _call_of(job: agent.Job) -> str:
    """The call's name among those of this pod; all that are sent on errands to one have the same."""
    errand = errands.read(job.metadata)
    return job.id if errand is None else f"{job.room.name}/{errand.caller}"


class CallServer(AgentServer):
    """An agent server that takes calls up to its slots, until it drains.

    Args:
        processes: how to make a call's process.
        asks_gemini: whether calls need Gemini to accept the pod: not with agents that bring a model of their own.
    """

    def __init__(
        self,
        settings: Settings,
        drain: Drain,
        processes: BaseContext,
        standing: Standing | None = None,
        *,
        asks_gemini: bool = True,
    ) -> None:
        # Else livekit-agents loads a turn detector, 244 MB by its own account (ipc/_preload.py), that Gemini makes
        # needless.
        os.environ.setdefault("LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE", "0")
        self.jobs = Jobs()
        super().__init__(
            ws_url=settings.livekit_url,
            api_key=settings.livekit_api_key,
            api_secret=settings.livekit_api_secret.get_secret_value(),
            max_retry=RETRY_FOR_EVER,
            setup_fnc=partial(process.prepare, settings, self.jobs.path),
            load_fnc=self._report_load,
            load_threshold=FULL_THRESHOLD,
            num_idle_processes=settings.idle_processes,
            job_memory_limit_mb=settings.call_memory_limit_mib,
            initialize_process_timeout=PROCESS_START_TIMEOUT_SECONDS,
            preload_modules=[PRELOAD],
            log_level=settings.log_level,
            # Its health endpoint says OK before registration and in a drain; the probes are ours.
            host="127.0.0.1",
            port=0,
        )
        self._mp_ctx = processes
        self.rtc_session(session.answer, agent_name=settings.agent_name, on_request=self._on_request)
        self.slots = Slots(settings.call_slots, self._calls)
        self.outcomes: Counter[Outcome] = Counter()
        self.registered = False
        self._acceptance = Acceptance(settings) if asks_gemini else None
        self._pod = settings.pod_name
        self._drain_of_pod = drain
        self._standing = standing
        self._cut: frozenset[str] = frozenset()
        self._process_ended = asyncio.Event()
        self.on("worker_registered", self._on_registered)
        self.on("worker_started", self._on_started)
        metrics.SLOTS.set(settings.call_slots)

    def not_ready(self) -> str | None:
        """Why no call can come to this pod; None when one can."""
        if self._drain_of_pod.asked:
            return "draining"
        if self._acceptance is not None and self._acceptance.lacking is not None:
            return self._acceptance.lacking
        return None if self.registered else "not registered with LiveKit yet"

    def running(self) -> Collection[str]:
        """IDs of the jobs that run."""
        return {job.job.id for job in self.active_jobs}

    def hand_over(self, job: str, within: float) -> bool:
        """Ask a job to give its call to another pod in `within` seconds; False when it cannot be asked."""
        return self.jobs.hand_over(job, within)

    def giving(self) -> Collection[str]:
        """IDs of the jobs whose successors have come, and have not taken the call yet."""
        return self.jobs.met.intersection(self.running())

    def cut(self, *, spare: Collection[str] = ()) -> Collection[str]:
        """Have the jobs that no other pod has relieved let go of their calls; returns their IDs."""
        # Those that have moved are only leaving.
        cut = frozenset(self.running()) - self.jobs.moved - self.jobs.superseded - self._cut - frozenset(spare)
        for job in cut:
            self.jobs.let_go(job)
        self._cut |= cut
        return cut

    async def kill(self) -> None:
        """Kill every process of a job, even one that hangs or is stopped."""
        processes = [p for p in self._proc_pool.processes if isinstance(p, SupervisedProc) and p.started]
        await asyncio.gather(*(process.kill() for process in processes), return_exceptions=True)

    async def close_to_new_calls(self) -> None:
        """Tell LiveKit to send no more calls, and wait for the last call to end."""
        # Not `drain()`: livekit-agents 1.8.9 waits for the processes in a loop that never yields once one has ended and
        # is still listed, as happens when two end at the same moment. The pod then stands still until SIGKILL.
        self._draining = True
        # No call will come for them, and the jobs of this node need the time. livekit-agents reckons the pool's target
        # from this every few seconds.
        self._num_idle_processes = 0
        self._proc_pool.set_target_idle_processes(0)
        await self._update_worker_status()
        # In-flight calls finish launching.
        await asyncio.gather(*self._job_lifecycle_tasks, return_exceptions=True)
        while self.running():
            self._process_ended.clear()
            await self._process_ended.wait()

    async def _connection_task(self) -> None:
        # livekit-agents 1.8.9 registers here. LiveKit sends calls to whoever is registered, ready or not.
        if self._acceptance is None:
            await super()._connection_task()
            return
        # Else a rollout of a wrong key would go on to the last pod.
        await self._acceptance.unless_refused()
        # An outage concerns all pods: who calls meanwhile is better served by one that asks on than by none.
        asking = asyncio.create_task(self._acceptance.until_accepted(), name="ask Gemini")
        try:
            await super()._connection_task()
        finally:
            asking.cancel()
            # A service that does not answer lets a connection that is being set up go after ten.
            await asyncio.wait([asking], timeout=LEAVE_GEMINI_SECONDS)

    async def _on_request(self, request: JobRequest) -> None:
        if self._drain_of_pod.asked:
            await self._leave_to_another_pod(request, "draining")
            return
        # A new call is asked for once: it is better served late than never, but by a pod that is refused.
        errand = errands.read(request.job.metadata)
        if self._refused or (errand is not None and self._lacks_model):
            await self._leave_to_another_pod(request, "no_model")
            return
        if errand is not None and errand.kind is Kind.HANDOVER and await self._would_move_again():
            await self._leave_to_another_pod(request, "outdated")
            return
        try:
            with self.slots.promise(request.id, _call_of(request.job)):
                await request.accept(attributes={POD_ATTRIBUTE: self._pod})
        except NoFreeSlotError:
            await self._leave_to_another_pod(request, "full")

    def _calls(self) -> Mapping[str, str]:
        return {info.job.id: _call_of(info.job) for info in self.active_jobs}

    async def _leave_to_another_pod(self, request: JobRequest, reason: str) -> None:
        metrics.CALLS_REFUSED.labels(reason).inc()
        # `terminate`, the default, would leave the caller alone in the room: LiveKit would ask no one else.
        await request.reject(terminate=False)

    async def _would_move_again(self) -> bool:
        # Asked of what is handed over: it is served meanwhile, and asked for again.
        return self._standing is not None and await self._standing.ask_now()

    @property
    def _refused(self) -> bool:
        return self._acceptance is not None and self._acceptance.refused

    @property
    def _lacks_model(self) -> bool:
        if self._acceptance is not None and self._acceptance.lacking is not None:
            return True
        return time.monotonic() - self.jobs.model_lost_at < LACKS_MODEL_SECONDS

    @property
    def _outdated(self) -> bool:
        return self._standing is not None and self._standing.closed

    def _report_load(self) -> float:
        metrics.SLOTS_TAKEN.set(self.slots.taken)
        # Not before it is registered: livekit-agents 1.8.9 would tell so when it is, and LiveKit ask it for nothing for
        # 2.5 s.
        if self._outdated or (self._refused and self.registered):
            return 1.0
        return max(self.slots.load, ALMOST_FULL) if self._lacks_model else self.slots.load

    def _get_effective_load(self) -> float:
        # livekit-agents adds an estimate for calls promised but not running, at an idle pod with one warm
        # process the whole threshold: a second call would be refused while slots are free. Ours counts them.
        return self._worker_load

    def _is_available(self) -> bool:
        available = super()._is_available()
        if not available:
            metrics.CALLS_REFUSED.labels(self._why_closed()).inc()
        return available

    def _why_closed(self) -> str:
        if self.draining:
            return "draining"
        if self._refused:
            return "no_model"
        return "outdated" if self._outdated else "full"

    def _on_registered(self, *_: object) -> None:
        self.registered = True
        metrics.REGISTERED.set(1)

    def _on_started(self) -> None:
        # livekit-agents tells the end of a job to livekit-server only.
        self._proc_pool.on("process_closed", self._on_process_closed)

    def _on_process_closed(self, executor: JobExecutor) -> None:
        self._process_ended.set()
        if executor.running_job is None:
            return
        job = executor.running_job.job
        if job.id in self.jobs.moved:
            outcome = Outcome.MOVED
        elif job.id in self._cut:
            outcome = Outcome.CUT
        elif job.id in self.jobs.superseded:
            outcome = Outcome.MOVED
        else:
            outcome = Outcome.FAILED if executor.status is JobStatus.FAILED else Outcome.FINISHED
        self.outcomes[outcome] += 1
        metrics.CALLS.labels(outcome).inc()
        logger.info("call %s", outcome, extra={"job_id": job.id, "room": job.room.name, "room_id": job.room.sid})
