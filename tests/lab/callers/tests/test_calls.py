"""Callers in processes of their own, a real livekit-server, and agents whose behaviour is known."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from lab.callers import CallFleet, CallPlan, StarvedError, Summary, assert_ok
from lab.callers.tests.tiny_agent import Memory, TinyAgent, agents_in
from lab.livekit import LiveKit, livekit_server
from lab.signals import Kind

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[LiveKit]:
    with livekit_server() as running:
        yield running


def plan(server: LiveKit, room: str, **changes: object) -> CallPlan:
    values: dict[str, object] = {
        "agent_name": "",
        "pause_s": 0.4,
        "answer_timeout_s": 6.0,
        "agent_timeout_s": 20.0,
        "give_up_after": 2,
    }
    return CallPlan(server.url, server.key, server.secret, room, **{**values, **changes})  # type: ignore[arg-type]


async def test_calls_are_answered_and_measured(server: LiveKit) -> None:
    kinds = (Kind.ASK, Kind.ASK_LONG, Kind.ASK_TOOL)
    async with AsyncExitStack() as stack:
        for call in (1, 2):
            await stack.enter_async_context(agents_in(server, f"good-{call}", TinyAgent(f"pod-{call}")))
        async with CallFleet(plan(server, "good", kinds=kinds), calls=2) as fleet:
            await fleet.all_answering()
            await fleet.more_answers(3)
            reports = await fleet.finish()

    assert Summary.of(reports).ok, [report.findings for report in reports]
    for report in reports:
        assert report.answered >= 4
        assert report.pods == [f"pod-{report.call}"]
        assert report.ending == "told to stop"
        # The tiny agent answers as soon as it has recognised the frame; what else there is, is the network's.
        assert all(0 < latency < 2 for latency in report.latencies_s)
        long_turn = report.turns[1]
        assert long_turn.kind == "ASK_LONG"
        assert long_turn.answered is not None
        # The caller barged in: it did not hear six seconds out.
        assert report.turns[2].asked - long_turn.answered < 5
    assert not fleet.complaints


async def test_two_agents_at_once_are_heard(server: LiveKit) -> None:
    both = [TinyAgent("pod-a"), TinyAgent("pod-b")]
    async with agents_in(server, "double-1", *both), CallFleet(plan(server, "double", questions=2), calls=1) as fleet:
        await fleet.all_answering()
        (report,) = await fleet.finish()

    assert report.answered_twice >= 1
    assert report.overlap_ms > 300


async def test_an_agent_that_leaves_loses_the_call(server: LiveKit) -> None:
    agent = TinyAgent("pod-a", leave_after=1)
    async with agents_in(server, "left-1", agent), CallFleet(plan(server, "left"), calls=1) as fleet:
        await fleet.all_answering()
        await agent.left.wait()
        await fleet.more_answers(1)
        (report,) = await fleet.finish()

    assert report.lost
    assert report.lost_turns >= 1
    assert report.agents[0].left is not None


@pytest.mark.parametrize("shared", [True, False], ids=["memory handed over", "memory lost"])
async def test_a_successor_is_heard_once_and_its_memory_is_checked(server: LiveKit, shared: bool) -> None:
    memory = Memory()
    room = f"successor-{shared}".lower()
    first = TinyAgent("pod-a", memory, leave_after=2)
    second = TinyAgent("pod-b", memory if shared else Memory())
    async with (
        agents_in(server, f"{room}-1", first),
        CallFleet(plan(server, room, pause_s=1.5), calls=1) as fleet,
    ):
        await asyncio.wait_for(first.left.wait(), 60)
        async with agents_in(server, f"{room}-1", second):
            await fleet.more_answers(2)
            (report,) = await fleet.finish()

    assert report.pods == ["pod-a", "pod-b"]
    assert not report.lost
    assert report.answered_twice == 0
    assert report.overlap_ms == 0
    assert report.memory_kept is shared


@pytest.mark.parametrize("says", [Kind.GREETING, Kind.ANSWER], ids=["a greeting", "the answer before"])
async def test_a_caller_who_is_told_something_else_does_not_wait_for_the_answer(server: LiveKit, says: Kind) -> None:
    agent = TinyAgent("pod-a", deaf_to=2, says=says)
    room = f"told-{says.name}".lower()
    async with (
        agents_in(server, f"{room}-1", agent),
        CallFleet(plan(server, room, answer_timeout_s=30), calls=1) as fleet,
    ):
        await fleet.more_answers(3)
        (report,) = await fleet.finish()

    second, third = report.turns[1:3]
    assert second.lost
    assert not third.lost
    assert third.asked - second.asked < 20


async def test_a_call_that_no_agent_takes_is_lost_and_named(server: LiveKit) -> None:
    async with CallFleet(plan(server, "nobody", agent_timeout_s=2.0), calls=1) as fleet:
        with pytest.raises(TimeoutError, match=r"call 1: 0 answered.*no agent"):
            await fleet.all_answering()
        (report,) = await fleet.finish()

    assert report.lost
    assert report.ending == "no agent"


async def test_a_server_that_goes_away_loses_the_call() -> None:
    async with AsyncExitStack() as stack:
        with livekit_server() as own:
            await stack.enter_async_context(agents_in(own, "gone-1", TinyAgent("pod-a")))
            fleet = await stack.enter_async_context(CallFleet(plan(own, "gone"), calls=1))
            await fleet.all_answering()
        await fleet.more_answers(3)
        (report,) = await fleet.finish()

    assert report.lost


async def test_a_caller_that_fails_loses_its_call_and_says_why(server: LiveKit) -> None:
    no_programs = {"PATH": "/nonexistent"}
    async with (
        agents_in(server, "mute-1", TinyAgent("pod-a")),
        CallFleet(plan(server, "mute", spoken=True), calls=1, variables=no_programs) as fleet,
    ):
        with pytest.raises(TimeoutError, match="espeak-ng"):
            await fleet.all_answering()
        (report,) = await fleet.finish()

    assert report.lost
    assert "espeak-ng" in report.ending


async def test_a_caller_that_got_no_processor_says_so(server: LiveKit) -> None:
    async with (
        agents_in(server, "starved-1", TinyAgent("pod-a")),
        CallFleet(plan(server, "starved"), calls=1) as fleet,
    ):
        await fleet.all_answering()
        process = fleet._calls[0].process
        process.send_signal(signal.SIGSTOP)
        # How long the stall is, is what is tested.
        await asyncio.sleep(1.0)
        process.send_signal(signal.SIGCONT)
        await fleet.more_answers(1)
        (report,) = await fleet.finish()

    assert report.longest_stall_s > 0.5
    assert not report.lost


async def test_a_caller_that_does_not_hang_up_tells_where_it_stood_and_nothing_of_the_agent(
    server: LiveKit, capsys: pytest.CaptureFixture[str]
) -> None:
    async with (
        agents_in(server, "stuck-1", TinyAgent("pod-a")),
        CallFleet(plan(server, "stuck"), calls=1) as fleet,
    ):
        await fleet.all_answering()
        (report,) = await fleet.finish(timeout=0)

    assert not report.measured
    assert "most recent call first" in capsys.readouterr().out
    with pytest.raises(StarvedError, match="its process died"):
        assert_ok([report])


async def test_an_abandoned_fleet_leaves_no_process(server: LiveKit) -> None:
    async with CallFleet(plan(server, "abandoned"), calls=2) as fleet:
        processes = [call.process for call in fleet._calls]

    assert all(process.returncode is not None for process in processes)
