"""A call from ringing to hanging up."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

from lab.callers import CallFleet, CallPlan, CallReport
from lab.gemini import Simulator
from lab.livekit import LiveKit
from lab.signals import Kind
from lab.worker import environment, worker

AGENTS = str(Path(__file__).parent / "agents")


def assert_held(reports: list[CallReport]) -> None:
    """No call was lost, and what was said was to the point; a starved machine may cost a turn."""
    for report in reports:
        assert not report.lost, report.findings
        assert report.memory_kept
        assert report.answered >= report.asked - 1


async def hold_a_call(plan: CallPlan, answers: int = 2) -> None:
    async with CallFleet(plan, 1) as fleet:
        await fleet.all_answering()
        await fleet.more_answers(answers - 1)
        reports = await fleet.finish()
    assert_held(reports)


async def test_a_call_is_answered_with_tools_interruptions_and_memory(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    plan = replace(plan, kinds=(Kind.ASK, Kind.ASK_TOOL, Kind.ASK_LONG))
    async with worker(variables, pod="pod-x") as pod:
        await pod.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            await fleet.more_answers(3)
            [report] = await fleet.finish()

        assert_held([report])
        assert report.pods == ["pod-x"]
        # The job ends soon after the call, not 20 s later with the room.
        async with asyncio.timeout(10):
            await pod.logged("call finished")
        assert await pod.metric("voice_agent_call_slots_taken") <= 1
        assert await pod.metric('voice_agent_calls_total{outcome="finished"}') == 1
    assert len(gemini.turns) == report.asked


async def test_a_caller_whose_client_connects_anew_has_the_same_agent(
    variables: dict[str, str], plan: CallPlan
) -> None:
    async with worker(variables, pod="pod-x") as pod:
        await pod.ready()
        async with CallFleet(replace(plan, reconnect_before=3), 1) as fleet:
            await fleet.all_answering()
            await fleet.more_answers(4)
            [report] = await fleet.finish()
        assert not [line for line in pod.lines if "call over" in line["message"]][1:]
    assert_held([report])
    assert report.pods == ["pod-x"]


async def test_calls_that_come_at_once_are_all_taken_while_slots_are_free(
    variables: dict[str, str], plan: CallPlan
) -> None:
    async with worker(variables | {"CALL_SLOTS": "3"}) as pod:
        await pod.ready()
        async with CallFleet(plan, 3, stagger_s=0) as fleet:
            await fleet.all_answering()
            reports = await fleet.finish()

    assert_held(reports)


async def test_a_full_pod_leaves_calls_to_another(variables: dict[str, str], plan: CallPlan) -> None:
    variables |= {"CALL_SLOTS": "1"}
    async with worker(variables, pod="pod-a") as first, worker(variables, pod="pod-b") as second:
        await first.ready()
        await second.ready()
        async with CallFleet(plan, 2, stagger_s=0) as fleet:
            await fleet.all_answering()
            reports = await fleet.finish()

    assert sorted(pod for report in reports for pod in report.pods) == ["pod-a", "pod-b"]


async def test_an_operators_plain_agent_answers_every_room_by_automatic_dispatch(
    variables: dict[str, str], plan: CallPlan
) -> None:
    plain = {"AGENT_CLASS": "plain_agent:Plain", "PYTHONPATH": AGENTS, "AGENT_NAME": ""}
    async with worker(variables | plain) as pod:
        await pod.ready()
        await hold_a_call(replace(plan, agent_name=""))


async def test_an_agent_with_a_model_of_its_own_needs_no_gemini_settings(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, gemini: Simulator
) -> None:
    own = environment(livekit) | {
        "AGENT_NAME": variables["AGENT_NAME"],
        "AGENT_CLASS": "plain_agent:WithModel",
        "PYTHONPATH": AGENTS,
        "OWN_MODEL_URL": gemini.url,
        "SSL_CERT_FILE": str(gemini.certificate),
    }
    async with worker(own) as pod:
        await pod.ready()
        await hold_a_call(plan)


async def test_silero_runs_when_asked_for(variables: dict[str, str], plan: CallPlan) -> None:
    async with worker(variables | {"VAD": "silero"}) as pod:
        await pod.ready()
        await hold_a_call(plan)


async def test_the_death_of_one_calls_process_leaves_the_others(variables: dict[str, str], plan: CallPlan) -> None:
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(replace(plan, answer_timeout_s=6, give_up_after=1), 2) as fleet:
            await fleet.all_answering()
            answered = await pod.logged("call answered")
            os.kill(answered["pid"], signal.SIGKILL)
            await pod.logged("call failed")
            await fleet.more_answers(1)
            reports = await fleet.finish()
        assert await pod.metric('voice_agent_calls_total{outcome="failed"}') == 1

    assert sorted(report.lost for report in reports) == [False, True]
