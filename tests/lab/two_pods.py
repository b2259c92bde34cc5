"""Calls that one pod has, alone or beside another pod that could take them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

from lab.callers import CallFleet, CallPlan
from lab.worker import Worker, worker

_NONE: Mapping[str, str] = {}


class TwoPods(NamedTuple):
    """Two ready workers and the callers of the first."""

    one: Worker
    two: Worker
    fleet: CallFleet


@asynccontextmanager
async def one_pod(
    variables: Mapping[str, str], plan: CallPlan, calls: int = 1
) -> AsyncIterator[tuple[Worker, CallFleet]]:
    """Have worker ``one`` answer every call."""
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, calls) as fleet:
            await fleet.all_answering()
            yield one, fleet


@asynccontextmanager
async def two_pods(
    variables: Mapping[str, str],
    plan: CallPlan,
    calls: int = 1,
    *,
    only_one: Mapping[str, str] = _NONE,
    only_two: Mapping[str, str] = _NONE,
) -> AsyncIterator[TwoPods]:
    """Have worker ``one`` answer every call, and then start worker ``two``.

    Args:
        variables: settings of both, see ``lab.worker.environment``.
        plan: what the callers do.
        calls: how many there are.
        only_one: settings that the first has besides, or instead.
        only_two: those of the second.
    """
    async with (
        one_pod({**variables, **only_one}, plan, calls) as (one, fleet),
        worker({**variables, **only_two}, pod="two") as two,
    ):
        await two.ready()
        yield TwoPods(one, two, fleet)
