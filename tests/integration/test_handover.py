"""A draining pod gives its calls to other pods, and no caller notices."""

from __future__ import annotations

import asyncio
import shutil
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from livekit import rtc
from livekit.protocol.agent_pb.agent_session import AgentSessionMessage

from lab.callers import CallFleet, CallPlan, CallReport, assert_ok
from lab.gemini import Simulator, simulator
from lab.livekit import LiveKit
from lab.peer import ask, called_for, dispatch, dispatches, participant
from lab.signals import Kind
from lab.two_pods import one_pod, two_pods
from lab.worker import environment, worker
from voice_agent.call.handover.wire import ALIVE, MEET, STATE_TOPIC, TAKE, TAKEN

AGENTS = str(Path(__file__).parent / "agents")
TERM = signal.SIGTERM
# livekit-agents 1.8.9, voice/remote_session.py: by which a debugger drives a session.
SESSION_TOPIC = "lk.agent.session"


@pytest.fixture
def variables(variables: dict[str, str]) -> dict[str, str]:
    return variables | {"DRAIN_FINISH_WITHIN_SECONDS": "0", "DRAIN_TIMEOUT_SECONDS": "150"}


def unnoticed(report: CallReport) -> None:
    """Nothing that the caller could have heard."""
    if report.broken or report.lost_turns:
        assert_ok([report])


async def test_a_call_moves_from_pod_to_pod(variables: dict[str, str], plan: CallPlan, livekit: LiveKit) -> None:
    names = ["one", "two", "three", "four"]
    async with AsyncExitStack() as stack:
        pod = await stack.enter_async_context(worker(variables, pod=names[0]))
        await pod.ready()
        fleet = await stack.enter_async_context(CallFleet(plan, 1))
        await fleet.all_answering()
        for name in names[1:]:
            successor = await stack.enter_async_context(worker(variables, pod=name))
            await successor.ready()
            await fleet.more_answers(1)
            pod.send(TERM)
            assert await pod.exit_code() == 0
            assert (pod.lines[-1]["moved"], pod.lines[-1]["cut"]) == (1, 0)
            pod = successor
        await fleet.more_answers(1)
        assert len(await dispatches(livekit, f"{plan.room}-1")) == 1
        [report] = await fleet.finish()
    assert report.pods == names
    unnoticed(report)


async def test_a_call_imports_nothing_once_its_agent_is_made(variables: dict[str, str], plan: CallPlan) -> None:
    """Where many calls of a pod move or are taken up, all of their processes need the same two cores."""
    variables |= {"AGENT_CLASS": "importing_agent:Importing", "PYTHONPATH": AGENTS}
    async with two_pods(variables, plan) as (one, two, fleet):
        one.send(TERM)
        assert await one.exit_code() == 0
        await fleet.more_answers(1)
        [report] = await fleet.finish()
        two.send(TERM)
        assert await two.exit_code() == 0
    assert report.pods == ["one", "two"]
    unnoticed(report)
    for pod in (one, two):
        said = [str(line["message"]) for line in pod.lines if line.get("logger") == "importing_agent"]
        assert said == ["notes imports"]


async def test_automatic_dispatch_hands_over_too(variables: dict[str, str], plan: CallPlan) -> None:
    variables |= {"AGENT_NAME": ""}
    async with two_pods(variables, replace(plan, agent_name="")) as (one, _two, fleet):
        one.send(TERM)
        assert await one.exit_code() == 0
        await fleet.more_answers(1)
        [report] = await fleet.finish()
    assert report.pods[-1] == "two"
    unnoticed(report)


async def test_a_call_is_served_until_a_successor_comes(variables: dict[str, str], plan: CallPlan) -> None:
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            one.send(TERM)
            await one.logged("no pod has a free slot", times=2)
            assert await one.metric('voice_agent_handovers_total{result="failed"}') >= 1
            async with worker(variables, pod="two") as two:
                await two.ready()
                assert await one.exit_code() == 0
                await fleet.more_answers(1)
                [report] = await fleet.finish()
    assert report.pods == ["one", "two"]
    unnoticed(report)


async def test_a_pod_with_several_calls_is_emptied(variables: dict[str, str], plan: CallPlan) -> None:
    async with two_pods(variables, plan, 2, only_two={"IDLE_PROCESSES": "2"}) as (one, _two, fleet):
        one.send(TERM)
        assert await one.exit_code() == 0
        await fleet.more_answers(1)
        reports = await fleet.finish()
    assert one.lines[-1]["moved"] == 2
    messages = [str(line["message"]) for line in one.lines]
    began = next(number for number, message in enumerate(messages) if message.startswith("draining: "))
    assert "initializing process" not in messages[began:], "a process was started for calls that cannot come"
    for report in reports:
        assert report.pods == ["one", "two"]
        unnoticed(report)


# The boundary is waited for up to 5 s before the end, and then what was said be played for 3 s more.
FORCED = {"DRAIN_TIMEOUT_SECONDS": "16"}
LONG_ANSWER_SECONDS = 20.0
LONGER_THAN_A_HANDOVER_SECONDS = 2.0


async def test_an_agent_whose_time_is_up_falls_silent_when_the_caller_speaks(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    report = await _forced(variables, replace(plan, barge_in_after_s=12.0), gemini)
    unnoticed(report)


async def test_an_answer_that_is_cut_off_for_want_of_time_is_said_again(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    report = await _forced(variables, replace(plan, barge_in_after_s=22.0), gemini)
    unnoticed(report)
    unasked = next(turn for turn in report.turns if turn.pod == "two").asked
    assert [sound.pod for sound in report.sounds if sound.start < unasked][-2:] == ["one", "two"]


async def _forced(variables: dict[str, str], plan: CallPlan, gemini: Simulator) -> CallReport:
    """A call whose pod must go just as a long answer begins, and at its deadline is still in it."""
    gemini.behaviour.long_answer_s = LONG_ANSWER_SECONDS
    plan = replace(plan, kinds=(Kind.ASK_LONG,))
    async with two_pods(variables, plan, only_one=FORCED) as (one, _two, fleet):
        await fleet.more_answers(1)
        one.send(TERM)
        assert await one.exit_code() == 0
        await fleet.more_answers(1)
        [report] = await fleet.finish()
    assert (one.lines[-1]["moved"], report.pods) == (1, ["one", "two"])
    return report


async def test_an_agents_own_state_moves_with_the_call(variables: dict[str, str], plan: CallPlan) -> None:
    variables |= {"AGENT_CLASS": "cart_agent:Cart", "PYTHONPATH": AGENTS}
    async with two_pods(variables, plan) as (one, two, fleet):
        one.send(TERM)
        line = await two.logged("cart taken up")
        await fleet.more_answers(1)
        [report] = await fleet.finish()
        assert not [line for line in two.lines if "cart opened" in line["message"]]
    assert line["message"].endswith("['welcome gift', 'apple']")
    unnoticed(report)


async def test_an_agent_with_a_model_of_its_own_moves_too(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    variables |= {"AGENT_CLASS": "plain_agent:WithModel", "PYTHONPATH": AGENTS, "OWN_MODEL_URL": gemini.url}
    async with two_pods(variables, plan) as (one, _two, fleet):
        one.send(TERM)
        assert await one.exit_code() == 0
        await fleet.more_answers(2)
        [report] = await fleet.finish()
    assert report.pods == ["one", "two"]
    assert not report.lost
    assert report.answered_twice == 0
    assert report.memory_kept


async def test_the_old_agent_carries_on_when_the_successor_dies(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit
) -> None:
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            room = f"{plan.room}-1"
            async with participant(livekit, room, "successor", "agent") as successor:
                one.send(TERM)
                predecessor, nonce = await called_for(livekit, room)
                await ask(successor, predecessor, MEET, nonce)
                await ask(successor, predecessor, TAKE, nonce)
            await one.logged("the call goes on here: it did not say that it has the call")
            await fleet.more_answers(2)
            [report] = await fleet.finish()
    assert report.pods == ["one"]
    unnoticed(report)


@pytest.mark.parametrize("patience", ["1", "60"])
async def test_a_successor_that_cannot_reach_the_model_any_more_is_not_given_the_call(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, tmp_path: Path, patience: str
) -> None:
    # With less than the agent before waits for, and with more.
    plan = replace(plan, answer_timeout_s=20)
    async with AsyncExitStack() as near:
        gemini = await near.enter_async_context(simulator())
        certificate = str(shutil.copy(gemini.certificate, tmp_path))
        there = environment(livekit, gemini) | {"SSL_CERT_FILE": certificate}
        only_two = {**there, "GEMINI_RECONNECT_SECONDS": patience}
        async with two_pods(variables, plan, only_two=only_two) as (one, two, fleet):
            await near.aclose()
            one.send(TERM)
            await two.logged("call not taken over")
            # Nor is it asked again at once.
            await one.logged("no pod has a free slot")
            await fleet.more_answers(2)
            [report] = await fleet.finish()
            assert await one.exit_code() == 0
    assert report.pods == ["one"]
    unnoticed(report)


async def test_a_pod_that_has_never_reached_the_model_is_not_asked(variables: dict[str, str], plan: CallPlan) -> None:
    nowhere = {"GEMINI_BASE_URL": "https://127.0.0.1:9"}
    async with one_pod(variables, plan) as (one, fleet), worker({**variables, **nowhere}, pod="two") as two:
        await two.logged("registered worker")
        one.send(TERM)
        await one.logged("no pod has a free slot")
        await fleet.more_answers(2)
        [report] = await fleet.finish()
        assert await one.exit_code() == 0
        assert await two.metric('voice_agent_calls_refused_total{reason="no_model"}') > 0
    assert report.pods == ["one"]
    unnoticed(report)


async def test_a_successor_that_stands_still_is_not_given_the_call(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit
) -> None:
    async def stand_still(_: rtc.RpcInvocationData) -> str:
        await asyncio.Event().wait()
        return ""

    async with one_pod(variables, plan) as (one, fleet):
        room = f"{plan.room}-1"
        async with participant(livekit, room, "successor", "agent") as successor:
            successor.local_participant.register_rpc_method(ALIVE, stand_still)
            one.send(TERM)
            predecessor, nonce = await called_for(livekit, room)
            await ask(successor, predecessor, MEET, nonce)
            taking = asyncio.create_task(ask(successor, predecessor, TAKE, nonce))
            await one.logged("the call goes on here: it does not answer any more")
            taking.cancel()
        async with worker(variables, pod="two") as two:
            await two.ready()
            assert await one.exit_code() == 0
            await fleet.more_answers(1)
            [report] = await fleet.finish()
    assert report.pods == ["one", "two"]
    unnoticed(report)


async def test_a_caller_can_neither_ask_for_the_call_nor_read_it(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit
) -> None:
    heard: list[str] = []
    deafen = AgentSessionMessage()
    deafen.request.request_id = "1"
    deafen.request.update_io.input.audio_enabled = False
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            room = f"{plan.room}-1"
            async with participant(livekit, room, "hostile") as hostile:
                for topic in (STATE_TOPIC, SESSION_TOPIC):
                    hostile.register_byte_stream_handler(topic, lambda _, sender: heard.append(sender))
                writer = await hostile.local_participant.stream_bytes("x", topic=SESSION_TOPIC)
                await writer.write(deafen.SerializeToString())
                await writer.aclose()
                await fleet.more_answers(1)
                one.send(TERM)
                predecessor, nonce = await called_for(livekit, room)
                for method in (MEET, TAKE, TAKEN):
                    with pytest.raises(rtc.RpcError):
                        # Even the nonce, which callers cannot get, does not help.
                        await ask(hostile, predecessor, method, nonce)
                async with worker(variables, pod="two") as two:
                    await two.ready()
                    assert await one.exit_code() == 0
                    await fleet.more_answers(1)
                    [report] = await fleet.finish()
    assert not heard
    assert [line for line in one.lines if "not the successor" in line["message"]]
    assert report.pods == ["one", "two"]
    unnoticed(report)


async def test_no_call_moves_before_its_agent_has_greeted(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, tmp_path: Path
) -> None:
    greets = tmp_path / "greets"
    variables |= {"AGENT_CLASS": "hesitant_agent:Hesitant", "PYTHONPATH": AGENTS, "GREETS_WHEN": str(greets)}
    async with worker(variables, pod="one") as one, participant(livekit, plan.room, "caller"):
        await one.ready()
        await dispatch(livekit, plan.room, plan.agent_name)
        await one.logged("about to greet")
        async with participant(livekit, plan.room, "successor", "agent") as successor:
            one.send(TERM)
            predecessor, nonce = await called_for(livekit, plan.room)
            await ask(successor, predecessor, MEET, nonce)
            taking = asyncio.create_task(ask(successor, predecessor, TAKE, nonce))
            done, _ = await asyncio.wait({taking}, timeout=LONGER_THAN_A_HANDOVER_SECONDS)
            assert not done
            greets.touch()
            await taking
            assert "greeted" in [line["message"] for line in one.lines]


async def test_a_caller_whose_agent_is_out_of_time_before_it_greets_is_greeted_by_the_next(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, tmp_path: Path
) -> None:
    greets = tmp_path / "greets"
    variables |= {"AGENT_CLASS": "hesitant_agent:Hesitant", "PYTHONPATH": AGENTS, "GREETS_WHEN": str(greets)}
    async with worker({**variables, **FORCED}, pod="one") as one, participant(livekit, plan.room, "caller"):
        await one.ready()
        await dispatch(livekit, plan.room, plan.agent_name)
        await one.logged("about to greet")
        async with worker(variables, pod="two") as two:
            await two.ready()
            one.send(TERM)
            await two.logged("about to greet")
            greets.touch()
            await two.logged("greeted")
            assert await one.exit_code() == 0
    assert one.lines[-1]["moved"] == 1
    assert "greeted" not in [line["message"] for line in one.lines]
