"""The control socket between a job and its worker: what the job tells is counted, for its own metrics end with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import REGISTRY

from voice_agent.call.control import Control, Deadline, Restored, Result
from voice_agent.call.errand import Kind
from voice_agent.call.recovery import Fresh
from voice_agent.telemetry import metrics
from voice_agent.worker.control import Jobs


async def never(_: Deadline) -> AsyncIterator[Result]:
    for result in list[Result]():
        yield result


async def taken(_: Deadline) -> AsyncIterator[Result]:
    yield Result.TAKEN


async def leave() -> None:
    """Nobody tells it to."""


async def grown(name: str, before: float, **labels: str) -> None:
    async with asyncio.timeout(10):
        while counted(name, **labels) != before + 1:  # noqa: ASYNC110 - Prometheus tells of no change
            await asyncio.sleep(0.01)


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("told", "result", "reason"),
    [
        (Restored(kind=Kind.HANDOVER), "restored", ""),
        (Restored(kind=Kind.RECOVERY), "restored", ""),
        *[(Restored(kind=Kind.RECOVERY, fresh=fresh), "fresh", fresh.value) for fresh in Fresh],
    ],
)
async def test_a_call_that_was_taken_up_is_counted_in_the_worker(told: Restored, result: str, reason: str) -> None:
    labels = {"kind": told.kind.value, "result": result, "reason": reason}
    jobs = Jobs()
    before = REGISTRY.get_sample_value("voice_agent_restores_total", labels)
    assert before is not None, "an alert needs the zero before the first"
    control = Control("AJ_1", never, leave)
    async with jobs.listening():
        await control.start(jobs.path)
        control.tell(told)
        await grown("voice_agent_restores_total", before, **labels)
        await control.aclose()


async def test_a_job_whose_call_was_taken_up_can_still_hand_it_over() -> None:
    before = counted("voice_agent_handovers_total", result="taken")
    restored = counted("voice_agent_restores_total", kind="recovery", result="restored", reason="")
    jobs = Jobs()
    control = Control("AJ_1", taken, leave)
    async with jobs.listening():
        await control.start(jobs.path)
        control.tell(Restored(kind=Kind.RECOVERY))
        await grown("voice_agent_restores_total", restored, kind="recovery", result="restored", reason="")
        assert jobs.hand_over("AJ_1", 1.0)
        await grown("voice_agent_handovers_total", before, result="taken")
        await control.aclose()
    assert jobs.moved == {"AJ_1"}


async def test_what_happens_to_a_call_is_counted_in_the_worker_also_before_it_is_connected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_tell", None)
    jobs = Jobs()
    control = Control("AJ_1", never, leave)
    before = counted("voice_agent_gemini_reconnects_total", reason="goaway")
    lost = counted("voice_agent_gemini_lost_total", why="refused")
    metrics.count("gemini_reconnects", "goaway")
    async with jobs.listening():
        await control.start(jobs.path)
        metrics.tell_counts(control.count)
        # Here both are one process, and count alike.
        await grown("voice_agent_gemini_reconnects_total", before + 1, reason="goaway")
        metrics.count("gemini_lost", "refused")
        await grown("voice_agent_gemini_lost_total", lost + 1, why="refused")
        await control.aclose()
