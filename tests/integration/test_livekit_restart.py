"""A call outlives the server that carries it, and stays where it is when that only stands still."""

from __future__ import annotations

import os
import signal
from contextlib import AsyncExitStack, ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from cryptography.fernet import Fernet

from lab.callers import CallFleet, CallPlan
from lab.gemini import Simulator
from lab.keeper import SECRET, keeper
from lab.livekit import livekit_server
from lab.peer import dispatch
from lab.ports import free_port
from lab.two_pods import two_pods
from lab.worker import environment, worker


async def test_a_call_goes_on_in_the_room_that_a_restarted_livekit_makes_anew(gemini: Simulator) -> None:
    async with AsyncExitStack() as stack:
        first = ExitStack()
        livekit = first.enter_context(livekit_server())
        stack.callback(first.close)
        port = free_port()
        kept = await stack.enter_async_context(keeper(environment(livekit), port=port))
        tethered = {"KEEPER_URL": kept.url, "KEEPER_SECRET": SECRET, "STATE_KEYS": Fernet.generate_key().decode()}
        variables = environment(livekit, gemini) | tethered
        one = await stack.enter_async_context(worker(variables, pod="one"))
        await one.ready()
        plan = CallPlan(livekit.url, livekit.key, livekit.secret, pause_s=0.6, answer_timeout_s=8, give_up_after=10)
        fleet = await stack.enter_async_context(CallFleet(plan, 1))
        await fleet.all_answering()

        first.close()
        stack.enter_context(livekit_server(urlsplit(livekit.url).port))
        await one.logged("LiveKit has made the room anew")
        await fleet.more_answers(2)
        # Under the name of the new room, with the next epoch.
        await kept.until(lambda calls: [call["epoch"] for call in calls.values()] == [2])

        two = await stack.enter_async_context(worker(variables, pod="two"))
        await two.ready()
        one.send_to_group(signal.SIGKILL)
        assert (await two.logged("call recovered"))["memory_kept"]
        await fleet.more_answers(2)
        [report] = await fleet.finish()
    # What was said while no server carried it, or in the pod's last moment, may be lost.
    assert report.lost_turns <= 2
    assert not report.broken, report.broken
    assert report.pods == ["one", "two"]


async def test_calls_stay_where_they_are_when_livekit_stands_still(gemini: Simulator) -> None:
    async with AsyncExitStack() as stack:
        livekit = stack.enter_context(livekit_server())
        kept = await stack.enter_async_context(keeper(environment(livekit)))
        tethered = {"KEEPER_URL": kept.url, "KEEPER_SECRET": SECRET, "STATE_KEYS": Fernet.generate_key().decode()}
        plan = CallPlan(livekit.url, livekit.key, livekit.secret, pause_s=0.6, answer_timeout_s=8, give_up_after=10)
        one, _, fleet = await stack.enter_async_context(
            two_pods(environment(livekit, gemini) | tethered, plan, calls=2)
        )
        await fleet.more_answers(1)

        os.kill(livekit.pid, signal.SIGSTOP)
        try:
            await one.logged("nothing comes from LiveKit", times=2)
            await kept.until(lambda calls: {call["lost"] for call in calls.values()} == {"cut-off"})
        finally:
            os.kill(livekit.pid, signal.SIGCONT)
        await kept.until(lambda calls: not any(call["lost"] for call in calls.values()))
        await fleet.more_answers(2)
        calls = await kept.calls()
        reports = await fleet.finish()
    assert {(call["pod"], call["epoch"]) for call in calls.values()} == {("one", 1)}
    for report in reports:
        # What is said while the server stands still may be lost.
        assert report.lost_turns <= 1
        assert not report.broken, report.broken
        assert report.pods == ["one"]


@pytest.mark.parametrize("brings_agent", [False, True], ids=["dispatched by API", "the token brings an agent"])
async def test_a_call_whose_pod_dies_with_livekit_goes_on_with_its_memory(
    gemini: Simulator, brings_agent: bool
) -> None:
    async with AsyncExitStack() as stack:
        first = ExitStack()
        livekit = first.enter_context(livekit_server())
        stack.callback(first.close)
        kept = await stack.enter_async_context(keeper(environment(livekit)))
        tethered = {"KEEPER_URL": kept.url, "KEEPER_SECRET": SECRET, "STATE_KEYS": Fernet.generate_key().decode()}
        variables = environment(livekit, gemini) | tethered
        one = await stack.enter_async_context(worker(variables, pod="one"))
        await one.ready()
        plan = CallPlan(livekit.url, livekit.key, livekit.secret, pause_s=0.6, answer_timeout_s=8, give_up_after=10)
        agent_name = plan.agent_name
        plan = replace(plan, agent_name=agent_name if brings_agent else "")
        fleet = await stack.enter_async_context(CallFleet(plan, 1))
        if not brings_agent:
            await dispatch(livekit, f"{plan.room}-1", agent_name)
        await fleet.all_answering()
        two = await stack.enter_async_context(worker(variables | {"IDLE_PROCESSES": "2"}, pod="two"))
        await two.ready()
        await fleet.more_answers(1)

        first.close()
        one.send_to_group(signal.SIGKILL)
        stack.enter_context(livekit_server(urlsplit(livekit.url).port))
        recovered = await two.logged("call recovered")
        assert recovered["memory_kept"]
        assert recovered["epoch"] >= 3
        await fleet.more_answers(2)
        # Nothing is left of it by its old name, nor of what the token brought.
        calls = (await kept.get("/v1/calls"))["calls"]
        assert [(call["pod"], call["lost"], call["epoch"]) for call in calls] == [("two", None, recovered["epoch"])]
        [report] = await fleet.finish()
    assert not report.lost, report.ending
    assert report.pods == ["one", "two"]
    if not brings_agent:  # whose new conversation may have answered for a moment
        assert not report.broken, report.broken
