"""Gemini refuses the key of one pod, or of all that are new: no caller is left with it."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path
from socket import socket

import pytest

from lab.callers import CallFleet, CallPlan, assert_ok
from lab.gemini import Fault, Simulator, simulator
from lab.keeper import SECRET, keeper
from lab.livekit import LiveKit
from lab.ports import free_port
from lab.two_pods import two_pods
from lab.worker import environment, worker

# What Gemini says of a key that is blocked; see `Ending.refused`.
BLOCKED = 1008
OWN_MODEL = {"AGENT_CLASS": "plain_agent:Bare", "PYTHONPATH": str(Path(__file__).parent / "agents")}


def refuse(gemini: Simulator) -> None:
    """Have it set up no session until its faults are cleared."""
    gemini.faults.append(Fault("close", "setup", code=BLOCKED, times=1000))


async def test_a_pod_that_gemini_refuses_takes_no_calls_until_it_is_accepted(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    refuse(gemini)
    async with worker(variables) as pod:
        line = await pod.logged("Gemini refuses this pod")
        assert f"simulated fault {BLOCKED}" in line["message"]
        code, reason = await pod.get("/readyz")
        assert (code, reason[:24]) == (503, "Gemini refuses this pod:")
        assert await pod.get("/livez") == (200, "ok")
        assert await pod.metric("voice_agent_registered") == 0
        gemini.faults.clear()
        await pod.ready()
        async with CallFleet(plan, 1) as fleet:
            try:
                await fleet.all_answering()
            except TimeoutError as error:
                raise AssertionError(pod.text()) from error
            assert_ok(await fleet.finish())


async def test_a_pod_that_gemini_refuses_leaves_when_told(variables: dict[str, str], gemini: Simulator) -> None:
    refuse(gemini)
    async with worker(variables) as pod:
        await pod.logged("Gemini refuses this pod")
        pod.send(signal.SIGTERM)
        assert await pod.exit_code(20) == 0


@pytest.mark.parametrize("network", ["refuses", "drops"])
async def test_a_pod_that_gemini_does_not_answer_takes_calls_and_is_not_ready(
    variables: dict[str, str], network: str
) -> None:
    # What is never accepted is connected to, and gets no answer.
    with socket() as server:
        server.bind(("127.0.0.1", 0))
        if network == "drops":
            server.listen()
        variables["GEMINI_BASE_URL"] = f"https://127.0.0.1:{server.getsockname()[1]}"
        async with worker(variables) as pod:
            await pod.logged("Gemini does not answer this pod")
            await pod.logged("registered worker")
            code, reason = await pod.get("/readyz")
            assert (code, reason[:32]) == (503, "Gemini does not answer this pod:")


async def test_a_pod_that_gemini_answers_later_is_ready_then(variables: dict[str, str], gemini: Simulator) -> None:
    gemini.faults.append(Fault("close", "setup", code=1011, times=1000))
    async with worker(variables) as pod:
        await pod.logged("Gemini does not answer this pod")
        gemini.faults.clear()
        await pod.ready()


async def test_an_agent_with_a_model_of_its_own_asks_nobody(variables: dict[str, str], gemini: Simulator) -> None:
    refuse(gemini)
    async with worker(variables | OWN_MODEL) as pod:
        await pod.ready()
    assert gemini.sessions == []


async def test_a_call_whose_pods_key_is_blocked_goes_on_in_another(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, gemini: Simulator
) -> None:
    port = free_port()
    variables |= {"KEEPER_URL": f"http://127.0.0.1:{port}", "KEEPER_SECRET": SECRET}
    plan = replace(plan, give_up_after=10)
    async with keeper(environment(livekit), port=port), simulator() as other:
        good = environment(livekit, other)
        async with two_pods(variables, plan, only_two=good) as (_one, two, fleet):
            await fleet.more_answers(1)
            refuse(gemini)
            await gemini.add_fault(Fault("close", "now", code=1011))
            recovered = await two.logged("call recovered")
            await fleet.more_answers(2)
            [report] = await fleet.finish()
    assert recovered["memory_kept"]
    assert not report.lost
    assert report.memory_kept, report.story
    assert report.pods[-1] == "two"
