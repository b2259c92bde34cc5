"""Callers whom no tether tells of get an agent: keepers find them by LiveKit's list of rooms."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
from livekit import api

from lab.callers import CallFleet, CallPlan, assert_ok
from lab.keeper import SECRET, keeper
from lab.livekit import LiveKit
from lab.peer import dispatch, dispatches, participant
from lab.ports import free_port
from lab.worker import environment, worker

AGENTS = str(Path(__file__).parent / "agents")
# The dead agent stays in the room for some 20 s, and half a minute goes by until another is sent and speaks.
PATIENT = 120.0


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def variables(variables: dict[str, str], port: int) -> dict[str, str]:
    url = f"http://127.0.0.1:{port}"
    greeting = {"AGENT_CLASS": "greeting_agent:Greeting", "PYTHONPATH": AGENTS}
    return variables | greeting | {"KEEPER_URL": url, "KEEPER_SECRET": SECRET}


@pytest.fixture
def keepers(livekit: LiveKit, variables: dict[str, str]) -> dict[str, str]:
    """A keeper's settings."""
    return environment(livekit) | {"AGENT_NAME": variables["AGENT_NAME"]}


async def test_a_call_whose_pod_dies_while_no_keeper_runs_is_taken_up_when_one_starts(
    variables: dict[str, str], keepers: dict[str, str], plan: CallPlan, livekit: LiveKit, port: int
) -> None:
    plan = replace(plan, give_up_after=60, answer_timeout_s=3)
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            one.send_to_group(signal.SIGKILL)
            assert await one.exit_code() != 0
            async with worker(variables, pod="two") as two, keeper(keepers, port=port) as watching:
                await two.ready()
                await two.logged("call recovered")
                await fleet.more_answers(2, timeout=PATIENT)
                assert [call["epoch"] for call in (await watching.calls()).values()] == [2]
                assert len(await dispatches(livekit, f"{plan.room}-1")) == 1
                [report] = await fleet.finish()
                # The conversation has begun anew: nobody kept it.
                await two.logged("entered")
    if report.lost or report.overlapped:
        assert_ok([report])
    assert report.pods == ["one", "two"]


async def test_a_caller_who_found_no_free_slot_is_answered_when_there_is_one(
    variables: dict[str, str], keepers: dict[str, str], plan: CallPlan, livekit: LiveKit, port: int
) -> None:
    plan = replace(plan, agent_timeout_s=PATIENT)
    told = api.RoomAgentDispatch(agent_name=plan.agent_name, metadata='{"customer": "gold"}')
    async with (
        api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client,
        keeper(keepers, port=port) as watching,
    ):
        await client.room.create_room(api.CreateRoomRequest(name=f"{plan.room}-1", agents=[told]))
        async with CallFleet(plan, 1) as fleet, worker(variables, pod="one") as one:
            await fleet.all_answering(timeout=PATIENT)
            await fleet.more_answers(2)
            entered = await one.logged("entered")
            assert entered["message"] == 'entered, told \'{"customer": "gold"}\''
            assert [call["pod"] for call in (await watching.calls()).values()] == ["one"]
            reports = await fleet.finish()
            assert len(await dispatches(livekit, f"{plan.room}-1")) == 1
    assert_ok(reports)


async def test_a_caller_who_leaves_and_is_back_before_the_room_is_gone_is_answered_with_the_memory(
    variables: dict[str, str], keepers: dict[str, str], plan: CallPlan, livekit: LiveKit, port: int
) -> None:
    room = f"{plan.room}-1"
    async with worker(variables, pod="one") as one, keeper(keepers, port=port) as watching:
        await one.ready()
        async with participant(livekit, room, "caller"):
            await dispatch(livekit, room, plan.agent_name)
            await one.logged("call answered")
            await watching.until(bool)
        await watching.until(lambda calls: not calls)
        async with participant(livekit, room, "caller"):
            recovered = await one.logged("call recovered")
            assert (recovered["epoch"], recovered["memory_kept"]) == (2, True)
            assert [call["epoch"] for call in (await watching.calls()).values()] == [2]
            assert await watching.metric('voice_agent_keeper_found_total{why="returned"}') == 1
