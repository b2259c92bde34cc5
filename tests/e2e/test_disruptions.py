"""Calls live through what Kubernetes does to a fleet on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab import disruptions
from lab.callers import CallFleet, CallPlan, CallReport, Summary
from lab.stage import Stage

pytestmark = pytest.mark.cluster

CALLS = 4


def _words(reports: Sequence[CallReport]) -> str:
    return "; ".join(f"call {report.call}: {', '.join(report.findings) or 'ok'}" for report in reports)


async def test_a_rolling_upgrade_loses_no_turn_and_draining_pods_take_no_new_call(
    release: Stage, plan: CallPlan
) -> None:
    async with CallFleet(plan, CALLS) as fleet:
        await fleet.all_answering()
        old = await asyncio.to_thread(disruptions.rolling_upgrade, release)
        draining = release.terminating()
        assert draining, "no old pod drains: there is nothing to test"
        async with CallFleet(replace(plan, room=f"{plan.room}-new"), CALLS) as newcomers:
            await newcomers.all_answering()
            new_reports = await newcomers.finish()
        reports = await fleet.finish()
    assert Summary.of(reports).ok, _words(reports)
    assert Summary.of(new_reports).ok, _words(new_reports)
    assert {pod for report in reports for pod in report.pods} <= old, "a call moved to another pod"
    assert not {pod for report in new_reports for pod in report.pods} & old, "a draining pod took a new call"
    await asyncio.to_thread(release.wait_gone, old)


async def test_a_scale_down_loses_no_turn(release: Stage, plan: CallPlan) -> None:
    async with CallFleet(plan, CALLS) as fleet:
        await fleet.all_answering()
        busy, _ = (await release.serving(plan.room)).most_common()[0]
        gone = await asyncio.to_thread(disruptions.scale, release, 1, busy)
        assert gone == {busy}
        await fleet.more_answers(3)
        reports = await fleet.finish()
    assert Summary.of(reports).ok, _words(reports)
    await asyncio.to_thread(release.wait_gone, gone)


async def test_a_node_drain_loses_no_turn(release: Stage, plan: CallPlan) -> None:
    async with CallFleet(plan, CALLS) as fleet:
        await fleet.all_answering()
        busy, _ = (await release.serving(plan.room)).most_common()[0]
        node = release.node_of(busy)
        try:
            drain = asyncio.create_task(asyncio.to_thread(disruptions.drain, release, node))
            await fleet.more_answers(3)
            reports = await fleet.finish()
            await drain
            assert not release.workers_on(node)
        finally:
            disruptions.uncordon(release, node)
    assert Summary.of(reports).ok, _words(reports)
