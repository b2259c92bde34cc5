"""The plain worker that the product is compared with does what it can, or the comparison would be worth nothing."""

from __future__ import annotations

import signal
from dataclasses import replace

from lab.baseline import WORKER
from lab.callers import CallFleet, CallPlan
from lab.ports import free_port
from lab.signals import Kind
from lab.worker import worker


async def test_the_baseline_holds_a_call_with_tools_and_memory_and_serves_it_on_when_told_to_go(
    variables: dict[str, str], plan: CallPlan
) -> None:
    plan = replace(plan, kinds=(Kind.ASK, Kind.ASK_TOOL))
    health = free_port()
    own = {"CALL_SLOTS": "12", "HEALTH_PORT": str(health), "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0"}
    async with worker(variables | own, pod="plain-x", program=(str(WORKER), "start")) as pod:
        await pod.logged("registered worker")
        assert (await pod.get("/", health))[0] == 200
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            pod.send(signal.SIGTERM)
            await fleet.more_answers(3)
            [report] = await fleet.finish()
        assert await pod.exit_code() == 0

    assert not report.lost, report.findings
    assert report.memory_kept
    assert report.answered >= report.asked - 1
    assert report.pods == ["plain-x"]
