"""Calls whose agent is gone are taken up by another pod, and by one only."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from lab.callers import CallFleet, CallPlan, CallReport, assert_ok
from lab.gemini import Simulator
from lab.keeper import SECRET, Keeper, keeper
from lab.livekit import LiveKit
from lab.peer import agents, dispatch, dispatches, participant, remove_agents
from lab.ports import free_port
from lab.two_pods import two_pods
from lab.worker import Worker, environment, worker

KILL = signal.SIGKILL
KEY = Fernet.generate_key().decode()
AGENTS = str(Path(__file__).parent / "agents")


@pytest.fixture
def ports() -> list[int]:
    """Of two keepers."""
    return [free_port(), free_port()]


@pytest.fixture
def variables(variables: dict[str, str], ports: list[int]) -> dict[str, str]:
    urls = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    return variables | {"KEEPER_URL": urls, "KEEPER_SECRET": SECRET, "STATE_KEYS": KEY}


@pytest.fixture
async def one_keeper(livekit: LiveKit, ports: list[int]) -> AsyncIterator[Keeper]:
    async with keeper(environment(livekit), port=ports[0]) as running:
        yield running


def taken_up(report: CallReport, pods: list[str], lost_turns: int = 1) -> None:
    """The call went on in the second pod; the turn that was under way may be lost."""
    if report.lost or not report.memory_kept or report.overlapped or report.lost_turns > lost_turns:
        assert_ok([report])
    assert report.pods == pods


async def test_calls_of_a_killed_pod_are_taken_up(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, one_keeper: Keeper
) -> None:
    async with two_pods(variables, plan, 3, only_two={"IDLE_PROCESSES": "3"}) as (one, two, fleet):
        await fleet.more_answers(1)
        assert {call["pod"] for call in (await one_keeper.calls()).values()} == {"one"}
        one.send_to_group(KILL)
        await two.logged("call recovered", times=3)
        await fleet.more_answers(2)
        # Of each call, only that of the agent which it has now.
        assert [len(await dispatches(livekit, f"{plan.room}-{call}")) for call in (1, 2, 3)] == [1, 1, 1]
        assert {call["epoch"] for call in (await one_keeper.calls()).values()} == {2}
        reports = await fleet.finish()
    for report in reports:
        taken_up(report, ["one", "two"])


@pytest.mark.parametrize("slots", ["1", "3"], ids=["the keepers find no slot", "the keepers send one too"])
async def test_a_successor_goes_on_where_the_agent_that_called_it_dies(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, one_keeper: Keeper, slots: str
) -> None:
    variables, room = variables | {"DRAIN_FINISH_WITHIN_SECONDS": "0"}, f"{plan.room}-1"
    async with two_pods(variables, plan, only_two={"CALL_SLOTS": slots, "IDLE_PROCESSES": "2"}) as (one, two, fleet):
        await fleet.more_answers(1)
        one.send(signal.SIGTERM)
        await two.logged("getting ready to take the call over")
        one.send_to_group(KILL)
        await two.logged("call recovered")
        await fleet.more_answers(2)
        # The keepers' own agent may come late, and leaves; nothing is left of it.
        async with asyncio.timeout(60):
            while len(await dispatches(livekit, room)) + len(await agents(livekit, room)) != 2:  # noqa: ASYNC110 - LiveKit tells of no change
                await asyncio.sleep(0.1)
        [report] = await fleet.finish()
    taken_up(report, ["one", "two"])
    # Where there is room for both, either may be the first.
    if slots == "1":
        assert not [line for line in two.lines if "call not taken over" in str(line["message"])]


async def test_livekits_own_agent_and_the_keepers_are_not_two(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, one_keeper: Keeper
) -> None:
    room = f"{plan.room}-1"
    async with two_pods(variables, plan, only_two={"IDLE_PROCESSES": "2"}) as (one, two, fleet):
        await fleet.more_answers(1)
        one.send_to_group(KILL)
        await one.exit_code()
        # One that may still meet the dead agent, and one that does not; the keepers send theirs meanwhile.
        await dispatch(livekit, room, plan.agent_name)
        await remove_agents(livekit, room)
        await dispatch(livekit, room, plan.agent_name)
        await two.logged("call recovered")
        await two.logged("leaving without a word")
        await fleet.more_answers(3)
        assert len(await agents(livekit, room)) == 1
        assert {call["pod"] for call in (await one_keeper.calls()).values()} == {"two"}
        [report] = await fleet.finish()
    taken_up(report, ["one", "two"])


@pytest.mark.parametrize("kept", [True, False], ids=["keepers", "no-keepers"])
async def test_a_second_dispatch_into_a_live_call_changes_nothing(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, gemini: Simulator, one_keeper: Keeper, kept: bool
) -> None:
    if not kept:
        del variables["KEEPER_URL"]
    # The second agent comes to the other pod.
    async with two_pods(variables, plan, only_one={"CALL_SLOTS": "1"}) as (_one, two, fleet):
        before = len(gemini.sessions)
        await dispatch(livekit, f"{plan.room}-1", plan.agent_name)
        await two.logged("leaving without a word")
        await fleet.more_answers(3)
        if kept:
            [call] = (await one_keeper.calls()).values()
            assert (call["pod"], call["epoch"], call["lost"]) == ("one", 1, None)
        [report] = await fleet.finish()
    assert_ok([report])
    assert report.pods == ["one"]
    assert len(gemini.sessions) == before, "the second agent got ready to speak"


@pytest.mark.parametrize("agent", ["voice_agent.assistant:Assistant", "hanging_agent:Hanging"], ids=["leaves", "hangs"])
async def test_calls_that_a_drain_leaves_at_its_deadline_are_taken_up(
    variables: dict[str, str], plan: CallPlan, one_keeper: Keeper, agent: str
) -> None:
    variables |= {"AGENT_CLASS": agent, "PYTHONPATH": AGENTS, "DRAIN_FINISH_WITHIN_SECONDS": "0"}
    async with two_pods(
        variables, plan, 2, only_one={"DRAIN_TIMEOUT_SECONDS": "0"}, only_two={"IDLE_PROCESSES": "2"}
    ) as (one, two, fleet):
        await fleet.more_answers(1)
        one.send(signal.SIGTERM)
        await one.logged("calls that are cut: 2; the keepers have other pods take them up")
        recovered = [await two.logged("call recovered", times=times) for times in (1, 2)]
        await fleet.more_answers(2)
        assert await one.exit_code() == 3
        reports = await fleet.finish()
    assert (one.lines[-1]["moved"], one.lines[-1]["cut"]) == (0, 2)
    assert all(line["memory_kept"] for line in recovered)
    for report in reports:
        taken_up(report, ["one", "two"])


async def test_a_state_that_kills_each_agent_is_left_out(
    variables: dict[str, str], plan: CallPlan, one_keeper: Keeper
) -> None:
    variables |= {"AGENT_CLASS": "fatal_agent:Fatal", "PYTHONPATH": AGENTS}
    only_two = {"IDLE_PROCESSES": "4"}
    async with two_pods(variables, replace(plan, give_up_after=10), only_two=only_two) as (one, two, fleet):
        await fleet.more_answers(1)
        one.send_to_group(KILL)
        line = await two.logged("call recovered")
        assert line["memory_kept"]
        await two.logged("3 agents in a row have died while they restored this call")
        await fleet.more_answers(2)
        [report] = await fleet.finish()
    taken_up(report, ["one", "two"], lost_turns=2)


async def test_a_call_waits_for_a_free_slot(variables: dict[str, str], plan: CallPlan, one_keeper: Keeper) -> None:
    plan = replace(plan, give_up_after=10, answer_timeout_s=3)
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            one.send_to_group(KILL)
            assert await one.exit_code() != 0
            async with worker(variables, pod="two") as two:
                await two.ready()
                await two.logged("call recovered")
                await fleet.more_answers(2)
                [report] = await fleet.finish()
    taken_up(report, ["one", "two"], lost_turns=9)


async def test_a_caller_who_has_hung_up_is_not_called_back(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, one_keeper: Keeper
) -> None:
    async with worker(variables, pod="one") as one, worker(variables, pod="two") as two:
        await one.ready()
        await two.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            one.send(signal.SIGSTOP)
            two.send(signal.SIGSTOP)
            await fleet.finish()
        one.send_to_group(KILL)
        two.send_to_group(KILL)
        # Not before the caller's room is gone, to which they could have returned.
        await one_keeper.until(lambda calls: not calls)
    assert await one_keeper.metric('voice_agent_keeper_recoveries_total{result="caller_left"}') == 1
    assert not [dispatch for dispatch in await dispatches(livekit, f"{plan.room}-1") if dispatch.metadata]


async def test_two_keepers_that_both_lead_send_one_agent(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, ports: list[int]
) -> None:
    async with AsyncExitStack() as stack:
        for port, name in zip(ports, ("keeper-a", "keeper-b"), strict=True):
            await stack.enter_async_context(keeper(environment(livekit), port=port, name=name))
        one = await stack.enter_async_context(worker(variables, pod="one"))
        await one.ready()
        fleet = await stack.enter_async_context(CallFleet(plan, 1))
        await fleet.all_answering()
        two = await stack.enter_async_context(worker(variables | {"IDLE_PROCESSES": "2"}, pod="two"))
        await two.ready()
        await fleet.more_answers(1)
        one.send_to_group(KILL)
        await two.logged("call recovered")
        await fleet.more_answers(3)
        [report] = await fleet.finish()
    taken_up(report, ["one", "two"])


async def test_a_keeper_that_was_away_knows_the_calls_again(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, ports: list[int]
) -> None:
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(keeper(environment(livekit), port=ports[0]))
        one = await stack.enter_async_context(worker(variables, pod="one"))
        await one.ready()
        fleet = await stack.enter_async_context(CallFleet(plan, 1))
        await fleet.all_answering()
        first.send(signal.SIGTERM)
        assert await first.exit_code() == 0
        await fleet.more_answers(1)
        second = await stack.enter_async_context(keeper(environment(livekit), port=ports[0], name="keeper-b"))
        await second.until(bool)
        two = await stack.enter_async_context(worker(variables, pod="two"))
        await two.ready()
        one.send_to_group(KILL)
        await two.logged("call recovered")
        await fleet.more_answers(2)
        [report] = await fleet.finish()
    taken_up(report, ["one", "two"])


@pytest.mark.parametrize("deaths", [1, 2])
async def test_a_caller_whose_agent_dies_before_it_greets_is_greeted_by_the_next(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, one_keeper: Keeper, tmp_path: Path, deaths: int
) -> None:
    greets = tmp_path / "greets"
    variables |= {"AGENT_CLASS": "hesitant_agent:Hesitant", "PYTHONPATH": AGENTS, "GREETS_WHEN": str(greets)}
    async with AsyncExitStack() as stack:
        pods = [await stack.enter_async_context(worker(variables, pod=name)) for name in ("one", "two", "three")]
        for pod in pods:
            await pod.ready()
        await stack.enter_async_context(participant(livekit, plan.room, "caller"))
        await dispatch(livekit, plan.room, plan.agent_name)
        for death in range(deaths):
            entered = await _first(pods, "about to greet")
            await _kept(one_keeper, epoch=death + 1)
            entered.send_to_group(KILL)
            pods.remove(entered)
        if deaths == 1:
            greets.touch()
            entered = await _first(pods, "greeted")
            # As one that found a conversation, and no new one.
            assert (await entered.logged("call recovered"))["memory_kept"]
        else:
            # It may be what kills them.
            assert (await pods[0].logged("call recovered"))["memory_kept"]
            assert "about to greet" not in pods[0].text()


async def _kept(keeper: Keeper, epoch: int) -> None:
    """Wait for the first snapshot of a call by the agent with this epoch."""
    await keeper.until(lambda calls: any(c["epoch"] == epoch and "began_at" in c for c in calls.values()))


async def _first(pods: list[Worker], message: str) -> Worker:
    """The one that logs it."""
    logging = {asyncio.create_task(pod.logged(message)): pod for pod in pods}
    done, waiting = await asyncio.wait(logging, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    logged = done.pop()
    logged.result()
    return logging[logged]
