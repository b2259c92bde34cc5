"""A function that runs when its pod goes: the caller is answered by the next pod, and nothing is called twice."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab.callers import CallPlan, assert_ok
from lab.keeper import SECRET, Keeper, keeper
from lab.livekit import LiveKit
from lab.ports import free_port
from lab.signals import Kind
from lab.two_pods import two_pods
from lab.worker import environment

AGENTS = str(Path(__file__).parent / "agents")


@pytest.fixture
async def one_keeper(livekit: LiveKit) -> AsyncIterator[Keeper]:
    async with keeper(environment(livekit), port=free_port()) as running:
        yield running


@pytest.fixture
def variables(variables: dict[str, str], one_keeper: Keeper) -> dict[str, str]:
    drain = {"DRAIN_FINISH_WITHIN_SECONDS": "0", "DRAIN_TIMEOUT_SECONDS": "6"}
    agent = {"AGENT_CLASS": "stuck_tool:StuckTool", "PYTHONPATH": AGENTS}
    return variables | drain | agent | {"KEEPER_URL": one_keeper.url, "KEEPER_SECRET": SECRET}


@pytest.mark.parametrize("killed", [False, True], ids=["handed-over", "killed"])
async def test_the_model_is_told_that_it_was_interrupted(
    variables: dict[str, str], plan: CallPlan, killed: bool
) -> None:
    plan = replace(plan, kinds=(Kind.ASK_TOOL,), answer_timeout_s=25)
    async with two_pods(variables, plan) as (one, two, fleet):
        await one.logged("stuck")
        if killed:
            one.send_to_group(signal.SIGKILL)
            await one.exit_code()
        else:
            one.send(signal.SIGTERM)
            assert await one.exit_code() == 0
            assert (one.lines[-1]["moved"], one.lines[-1]["cut"]) == (1, 0)
        await fleet.more_answers(1)
        assert not [line for line in two.lines if "stuck" in str(line["message"])]
        [report] = await fleet.finish()
    if report.broken or report.lost_turns:
        assert_ok([report])
    assert report.pods == ["one", "two"]
