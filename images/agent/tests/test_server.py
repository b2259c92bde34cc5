"""What the agent server answers when LiveKit offers it a call."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import get_context
from types import SimpleNamespace
from typing import cast

import pytest
from livekit.agents import JobRequest, utils
from livekit.agents.ipc.job_executor import JobExecutor, JobStatus
from prometheus_client import REGISTRY

from voice_agent.call.control import Counted, Hello
from voice_agent.call.errand import Errand, Kind, write
from voice_agent.settings import Settings
from voice_agent.telemetry import metrics
from voice_agent.worker.drain import Drain, Outcome
from voice_agent.worker.server import CallServer
from voice_agent.worker.slots import FULL_THRESHOLD
from voice_agent.worker.standing import Standing


class Offer:
    """A call that LiveKit offers."""

    def __init__(self, call: str, assigned: asyncio.Event | None = None, metadata: str = "") -> None:
        self.id = call
        self.job = SimpleNamespace(id=call, metadata=metadata, room=SimpleNamespace(name="room"))
        self.accepted: dict[str, str] | None = None
        self.rejected_for_good: bool | None = None
        self._assigned = assigned

    async def accept(self, *, attributes: dict[str, str]) -> None:
        self.accepted = attributes
        if self._assigned:
            await self._assigned.wait()

    async def reject(self, *, terminate: bool) -> None:
        self.rejected_for_good = terminate


class Pod:
    """A server that was never started: what LiveKit would ask of it is asked by hand."""

    def __init__(self, settings: Settings, standing: Standing | None = None) -> None:
        self.drain = Drain(settings.drain_timeout_seconds, settings.drain_finish_within_seconds)
        self.server = CallServer(settings, self.drain, get_context("forkserver"), standing)
        self.server._proc_pool = cast("object", SimpleNamespace(processes=[]))  # type: ignore[assignment]

    async def offer(self, offer: Offer) -> Offer:
        await self.server._on_request(cast(JobRequest, offer))
        return offer


@pytest.fixture
def pod(make_settings: Callable[..., Settings]) -> Pod:
    return Pod(make_settings(CALL_SLOTS="1"))


async def test_the_agent_tells_its_pod_to_the_room(pod: Pod) -> None:
    assert (await pod.offer(Offer("a"))).accepted == {"voice-agent.pod": "pod-1"}


async def test_a_full_pod_leaves_the_call_to_another(pod: Pod) -> None:
    assigned = asyncio.Event()
    first = asyncio.create_task(pod.offer(Offer("a", assigned)))
    await asyncio.sleep(0)

    second = await pod.offer(Offer("b"))

    assert second.accepted is None
    assert second.rejected_for_good is False
    assigned.set()
    assert (await first).accepted is not None


async def test_the_successor_that_a_dead_agent_had_called_takes_no_slot_besides_that_of_the_keepers(pod: Pod) -> None:
    """A pod that takes up as many calls as it has slots would be full before the last of them."""
    assigned = asyncio.Event()
    called = Errand(kind=Kind.HANDOVER, caller="caller", epoch=2)
    sent = called.model_copy(update={"kind": Kind.RECOVERY, "epoch": 3})
    first = asyncio.create_task(pod.offer(Offer("a", assigned, write(called))))
    await asyncio.sleep(0)

    assert (await pod.offer(Offer("b", metadata=write(sent)))).accepted is not None
    another = sent.model_copy(update={"caller": "another caller in that room"})
    assert (await pod.offer(Offer("c", metadata=write(another)))).accepted is None
    assigned.set()
    await first


def test_of_what_runs_each_call_counts_once(make_settings: Callable[..., Settings]) -> None:
    server = Pod(make_settings(CALL_SLOTS="4")).server
    errand = Errand(kind=Kind.HANDOVER, caller="caller", epoch=2)
    sent = write(errand.model_copy(update={"kind": Kind.RECOVERY, "epoch": 3}))
    another = write(errand.model_copy(update={"caller": "another"}))
    jobs = [
        Offer(name, metadata=each).job
        for name, each in zip("abcde", (write(errand), sent, another, "", ""), strict=True)
    ]
    server._proc_pool.processes = [SimpleNamespace(running_job=SimpleNamespace(job=job)) for job in jobs[:4]]  # type: ignore[misc]

    assert server.slots.taken == 3
    assert server._report_load() < FULL_THRESHOLD


async def test_a_draining_pod_leaves_the_call_to_another(pod: Pod) -> None:
    pod.drain.ask("SIGTERM")

    offer = await pod.offer(Offer("a"))

    assert offer.accepted is None
    assert offer.rejected_for_good is False


class Outdated:
    """Keepers that would have newer pods take the calls, as of this moment."""

    closed = False

    async def ask_now(self) -> bool:
        return True


async def test_a_pod_that_is_the_next_to_go_takes_new_calls_but_none_that_would_move_once_more(
    make_settings: Callable[..., Settings],
) -> None:
    pod = Pod(make_settings(CALL_SLOTS="4"), cast(Standing, Outdated()))
    errand = Errand(kind=Kind.HANDOVER, caller="caller", epoch=2)

    handed_over = await pod.offer(Offer("a", metadata=write(errand)))
    lost = await pod.offer(Offer("b", metadata=write(errand.model_copy(update={"kind": Kind.RECOVERY}))))
    new = await pod.offer(Offer("c", metadata="the team's own"))

    assert handed_over.rejected_for_good is False
    assert handed_over.accepted is None
    assert lost.accepted is not None
    assert new.accepted is not None


async def told_of_a_lost_model(make_settings: Callable[..., Settings], why: str) -> Pod:
    pod = Pod(make_settings(CALL_SLOTS="4"))
    async with pod.server.jobs.listening():
        reader, writer = await asyncio.open_unix_connection(pod.server.jobs.path)
        writer.write(Hello(job="a").line() + Counted(counted=metrics.MODEL_LOST, labels=(why,)).line())
        writer.write_eof()
        await reader.read()
        writer.close()
    return pod


async def test_a_pod_that_cannot_reach_the_model_takes_none_of_the_calls_that_another_can_have(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = await told_of_a_lost_model(make_settings, metrics.UNREACHABLE)
    lost = write(Errand(kind=Kind.RECOVERY, caller="caller", epoch=2))

    taken_up, new = await pod.offer(Offer("a", metadata=lost)), await pod.offer(Offer("b"))
    assert taken_up.rejected_for_good is False
    assert taken_up.accepted is None
    assert new.accepted is not None
    assert pod.server.slots.load < pod.server._report_load() < FULL_THRESHOLD

    monkeypatch.setattr("voice_agent.worker.server.LACKS_MODEL_SECONDS", 0.0)
    assert (await pod.offer(Offer("c", metadata=lost))).accepted is not None
    assert pod.server._report_load() == pod.server.slots.load


async def test_a_model_that_fails_one_call_keeps_its_pod_from_none(make_settings: Callable[..., Settings]) -> None:
    pod = await told_of_a_lost_model(make_settings, metrics.FAILED)
    errand = write(Errand(kind=Kind.RECOVERY, caller="caller", epoch=2))
    assert (await pod.offer(Offer("a", metadata=errand))).accepted is not None


async def test_a_pod_with_which_gemini_has_had_no_session_is_not_ready_and_takes_new_calls_only(
    make_settings: Callable[..., Settings],
) -> None:
    pod = Pod(make_settings())
    assert pod.server._acceptance is not None
    pod.server._acceptance.refused = True
    assert pod.server._report_load() < FULL_THRESHOLD, "it would be told when the pod registers, accepted by then"
    pod.server._acceptance.refused = False
    pod.server._on_registered()
    pod.server._acceptance.lacking = "Gemini does not answer this pod: timed out"
    errand = write(Errand(kind=Kind.HANDOVER, caller="caller", epoch=2, predecessor="agent"))

    moving, new = await pod.offer(Offer("a", metadata=errand)), await pod.offer(Offer("b"))
    assert moving.rejected_for_good is False
    assert new.accepted is not None
    assert pod.server._report_load() < FULL_THRESHOLD
    assert pod.server.not_ready() == "Gemini does not answer this pod: timed out"

    # As it may turn out once Gemini answers.
    pod.server._acceptance.refused = True
    assert (await pod.offer(Offer("d"))).rejected_for_good is False
    pod.server._worker_load = pod.server._report_load()
    assert pod.server._worker_load > FULL_THRESHOLD
    before = _refused("no_model")
    pod.server._devmode = False
    assert not pod.server._is_available()
    assert _refused("no_model") == before + 1

    pod.server._acceptance.lacking, pod.server._acceptance.refused = None, False
    assert (await pod.offer(Offer("c", metadata=errand))).accepted is not None
    assert pod.server.not_ready() is None


def _refused(reason: str) -> float:
    return REGISTRY.get_sample_value("voice_agent_calls_refused_total", {"reason": reason}) or 0.0


async def test_a_call_that_is_on_its_way_does_not_close_the_pod_to_the_next(
    make_settings: Callable[..., Settings],
) -> None:
    """livekit-agents' own estimate would: one call promised, one idle process, load at the threshold."""
    server = Pod(make_settings(CALL_SLOTS="4", IDLE_PROCESSES="1")).server
    server._devmode = False
    server._reserved_slots = 1

    with server.slots.promise("job", "call"):
        server._worker_load = server._report_load()
        assert server._is_available()


class EndedProcess:
    """A call's process that has ended and is still listed, as for a moment each is."""

    running_job = SimpleNamespace(job=SimpleNamespace(id="a", metadata="", room=SimpleNamespace(name="r", sid="RM_1")))
    status = JobStatus.SUCCESS
    joined = 0

    async def join(self) -> None:
        self.joined += 1
        if self.joined > 100:
            raise AssertionError("the wait for it lets nothing else run")


async def test_a_process_that_has_ended_and_is_still_listed_does_not_hold_the_pod(pod: Pod) -> None:
    server, process = pod.server, EndedProcess()
    server._proc_pool = utils.EventEmitter()  # type: ignore[assignment]
    server._proc_pool.set_target_idle_processes = lambda _: None  # type: ignore[method-assign, assignment]
    server._proc_pool.processes = processes = [process]  # type: ignore[assignment, misc]
    server._job_lifecycle_tasks = set()
    server._msg_chan = utils.aio.Chan()
    server._on_started()

    closing = asyncio.create_task(server.close_to_new_calls())
    for _ in range(3):
        await asyncio.sleep(0)
    server._proc_pool.emit("process_closed", cast("JobExecutor", process))
    processes.clear()

    await asyncio.wait_for(closing, 10)
    assert server.outcomes[Outcome.FINISHED] == 1


async def test_a_pod_is_ready_from_registration_to_drain(pod: Pod) -> None:
    assert pod.server.not_ready() == "not registered with LiveKit yet"
    pod.server.emit("worker_registered", "AW_1", None)
    assert pod.server.not_ready() is None
    pod.drain.ask("SIGTERM")
    assert pod.server.not_ready() == "draining"


def test_the_process_that_others_are_made_from_has_no_thread_and_all_that_a_call_needs() -> None:
    """A thread would not be there in the processes that are forked, and whatever lock it held would never be free."""
    script = (
        "import os, sys, livekit.plugins.google, voice_agent.worker.preload, livekit.agents.ipc._preload;"
        "loaded = set(sys.modules);"
        "import voice_agent.call.process, voice_agent.assistant;"
        "print(len(os.listdir('/proc/self/task')), sorted(name for name in set(sys.modules) - loaded))"
    )
    # numpy's own threads know of forks.
    environment = os.environ | {"LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0", "OPENBLAS_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert told == "1 ['voice_agent.assistant']\n"
