"""Calls live through what Kubernetes does to a fleet on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from lab.callers import CallFleet, CallPlan, CallReport, assert_ok
from lab.disruptions import fleet as operators
from lab.stage import Stage

pytestmark = [pytest.mark.cluster, pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"])]

CALLS = 2
# Enough to see where a new call goes; together with the others it shares two cores with the pods that start.
NEW_CALLS = 1


def _moved(reports: Sequence[CallReport], old: set[str]) -> list[int]:
    """The calls that went on, at their end, in another pod than at their beginning."""
    return [report.call for report in reports if report.pods[0] in old and report.pods[-1] not in old]


async def test_a_rolling_upgrade_loses_no_turn_and_old_pods_take_no_new_call(release: Stage, plan: CallPlan) -> None:
    async with CallFleet(plan, CALLS) as fleet:
        await fleet.all_answering()
        old = await asyncio.to_thread(operators.rolling_upgrade, release)
        async with CallFleet(replace(plan, room=f"{plan.room}-new"), NEW_CALLS) as newcomers:
            await newcomers.all_answering()
            new_reports = await newcomers.finish()
        # Long before their callers hang up.
        await asyncio.to_thread(release.wait_gone, old)
        await fleet.more_answers(1)
        reports = await fleet.finish()
    assert_ok(reports)
    assert_ok(new_reports)
    assert len(_moved(reports, old)) == CALLS, [report.pods for report in reports]
    assert not {pod for report in new_reports for pod in report.pods} & old, "an old pod took a new call"
