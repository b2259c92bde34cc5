"""A call's model moves from one pod to another: the interface that handovers and recoveries use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from livekit.agents import llm
from prometheus_client import REGISTRY

from lab.gemini import Behaviour, Fault, Simulator, simulator
from lab.gemini.plugin_call import DEADLINE_S, RATE, Call, frames_of
from lab.signals import Frame, Kind, encode
from voice_agent.gemini import (
    CONNECT_TIMEOUT_SECONDS,
    Gap,
    LostHereError,
    ModelCheckpoint,
    ResumableSession,
    realtime_model,
)
from voice_agent.settings import Settings, parse

# The plugin's own.
pytestmark = pytest.mark.filterwarnings("ignore:Setting .LiveConnectConfig.generation_config.:DeprecationWarning")

OpenCall = Callable[..., Call]


@pytest.fixture
async def gemini() -> AsyncIterator[Simulator]:
    """Two connections on one handle are refused, with the code that was reported of the real service."""
    quick = Behaviour(setup_s=0.01, endpointing_s=0.2, latency_s=0.02, answer_s=1.6, playback_pace=10)
    quick.update({"exclusive_handles": True, "refused_handle_code": 1011})
    async with simulator(quick) as running:
        yield running


@pytest.fixture
async def open_call(gemini: Simulator, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OpenCall]:
    monkeypatch.setenv("SSL_CERT_FILE", str(gemini.certificate))
    settings: Settings = parse(
        {
            "LIVEKIT_URL": "ws://unused",
            "LIVEKIT_API_KEY": "unused",
            "LIVEKIT_API_SECRET": "unused",
            "GOOGLE_API_KEY": "any",
            "GEMINI_BASE_URL": gemini.url,
            "GEMINI_RECONNECT_SECONDS": "3",
        }
    )[0]
    sessions: list[ResumableSession] = []

    def make(
        restore: ModelCheckpoint | None = None, on_gap: Callable[[Gap], None] | None = None, *, held: bool = False
    ) -> Call:
        session = realtime_model(settings, restore, held=held, on_gap=on_gap).session()
        sessions.append(session)
        return Call(session)

    yield make
    for session in sessions:
        await session.aclose()


def session_of(call: Call) -> ResumableSession:
    assert isinstance(call.session, ResumableSession)
    return call.session


def counted(reason: str) -> float:
    return REGISTRY.get_sample_value("voice_agent_gemini_reconnects_total", {"reason": reason}) or 0.0


async def at_boundary(call: Call) -> None:
    assert await session_of(call).at_boundary(DEADLINE_S)


async def part_of_answer(call: Call, seconds: float) -> None:
    """Hear the beginning of what the model says next."""
    heard = 0.0
    generation = await call.generation()
    async for message in generation.message_stream:
        async for frame in message.audio_stream:
            heard += frame.duration
            if heard >= seconds:
                return


async def test_another_pod_goes_on_at_a_turn_boundary(gemini: Simulator, open_call: OpenCall) -> None:
    old = open_call()
    await old.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(old)
    saved = await session_of(old).hold()

    new = open_call(saved)
    assert await new.ask(Frame(Kind.ASK, 3, 2)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
    assert gemini.sessions[1].resumed
    assert gemini.sessions[0].close_code == 1000
    assert old.errors.empty()


async def test_there_is_no_boundary_while_the_caller_speaks_or_waits(gemini: Simulator, open_call: OpenCall) -> None:
    call = open_call()
    call.push(encode(Frame(Kind.ASK, 3, 1), RATE)[: RATE // 2])
    assert not await session_of(call).at_boundary(0.2)
    gemini.behaviour.latency_s = 5
    call = open_call()
    call.say(Frame(Kind.ASK, 3, 1))
    assert not await session_of(call).at_boundary(0.2)


async def test_the_handle_is_free_as_soon_as_the_service_has_closed(
    open_call: OpenCall, caplog: pytest.LogCaptureFixture
) -> None:
    call = open_call()
    await call.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(call)
    # Everything that follows the call waits for news again.
    for _ in range(10):
        await asyncio.sleep(0)
    await session_of(call).hold()
    assert "was not closed" not in caplog.text


async def test_a_question_that_was_cut_is_heard_whole(gemini: Simulator, open_call: OpenCall) -> None:
    old = open_call()
    await old.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(old)
    question = encode(Frame(Kind.ASK, 3, 2), RATE)
    old.push(question[: RATE // 2])
    saved = await session_of(old).hold()

    new = open_call(saved)
    new.push(np.concatenate([question[RATE // 2 :], np.zeros(RATE // 2, np.int16)]))
    assert await frames_of(await new.generation()) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_the_rest_of_an_answer_is_not_lost(gemini: Simulator, open_call: OpenCall) -> None:
    old = open_call()
    old.say(Frame(Kind.ASK, 3, 1))
    await part_of_answer(old, 1.0)
    saved = await session_of(old).hold()
    assert saved.generating
    assert saved.said_s >= 1

    new = open_call(saved)
    # The simulator's word for whatever it says that is no answer to a question.
    assert [frame.kind for frame in await frames_of(await new.generation())] == [Kind.GREETING]
    assert await new.ask(Frame(Kind.ASK, 3, 2)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_the_result_of_a_function_reaches_the_other_pod(gemini: Simulator, open_call: OpenCall) -> None:
    @llm.function_tool
    async def look_up(topic: str) -> str:
        """Look a topic up."""
        return topic

    old = open_call()
    await old.session.update_tools([look_up])
    old.say(Frame(Kind.ASK_TOOL, 3, 1))
    generation = await old.generation()
    async with asyncio.timeout(DEADLINE_S):
        [called] = [function async for function in generation.function_stream]
    saved = await session_of(old).hold()
    assert [(call.name, call.response) for call in saved.tool_calls] == [("look_up", None)]

    new = open_call(saved)
    context = old.session.chat_ctx
    context.items += [
        called,
        llm.FunctionCallOutput(name=called.name, call_id=called.call_id, output="42", is_error=False),
    ]
    await new.session.update_chat_ctx(context)
    assert await frames_of(await new.generation()) == [Frame(Kind.ANSWER, 3, 1, turns=1)]


async def test_what_the_agent_asked_for_is_asked_again(gemini: Simulator, open_call: OpenCall) -> None:
    gemini.faults.append(Fault("stall", "setup", connection=1))
    old = open_call()
    asked = old.session.generate_reply(instructions="Greet the caller.")
    saved = await session_of(old).hold()
    asked.cancel()

    new = open_call(saved)
    assert [frame.kind for frame in await frames_of(await new.generation())] == [Kind.GREETING]


async def test_a_refused_handle_costs_no_memory(gemini: Simulator, open_call: OpenCall) -> None:
    old = open_call()
    await old.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(old)
    saved = await session_of(old).hold()
    gemini.faults.append(Fault("refuse_handle", times=2))
    gemini.behaviour.refused_handle_code = 1007

    new = open_call(saved)
    await new.session.update_chat_ctx(old.session.chat_ctx)
    assert await new.ask(Frame(Kind.ASK, 3, 2)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
    assert not gemini.sessions[-1].resumed


@pytest.mark.parametrize(("refusals", "why"), [(6, "failed"), (7, "refused")])
async def test_a_conversation_that_is_refused_for_good_is_told_from_a_pod_that_is(
    gemini: Simulator, open_call: OpenCall, refusals: int, why: str
) -> None:
    old = open_call()
    await old.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(old)
    saved = await session_of(old).hold()
    # Twice with the handle, with all of the history and ever less of it; and once without a conversation.
    gemini.faults.append(Fault("close", "setup", code=1007, times=refusals))
    lost = REGISTRY.get_sample_value("voice_agent_gemini_lost_total", {"why": why}) or 0.0

    new = open_call(saved)
    async with asyncio.timeout(DEADLINE_S):
        while (told := await new.errors.get()).recoverable:
            pass
    assert isinstance(told.error, LostHereError) is (why == "refused")
    assert REGISTRY.get_sample_value("voice_agent_gemini_lost_total", {"why": why}) == lost + 1


async def test_an_answer_that_came_whole_is_remembered_though_no_connection_follows(
    gemini: Simulator, open_call: OpenCall
) -> None:
    # Gemini tells of a turn's end when the answer was played.
    gemini.behaviour.playback_pace = 0.05
    call = open_call()
    call.say(Frame(Kind.ASK, 3, 1))
    await call.generation()
    async with asyncio.timeout(DEADLINE_S):
        while not session_of(call).playing:
            await session_of(call).change()
    gemini.faults.append(Fault("stall", "setup", times=9))
    await gemini.add_fault(Fault("close", "now"))
    async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS / 2):
        while "call 3 question 1" not in str(call.session.chat_ctx.items):  # noqa: ASYNC110 - the plugin tells of no change
            await asyncio.sleep(0.01)


async def test_what_is_being_played_is_told_of_under_the_names_that_the_history_gives_it(
    gemini: Simulator, open_call: OpenCall
) -> None:
    gemini.behaviour.playback_pace = 0.5
    call = open_call()
    assert session_of(call).playing == ()
    call.say(Frame(Kind.ASK, 3, 1))
    await call.generation()
    async with asyncio.timeout(DEADLINE_S):
        while not (playing := session_of(call).playing):
            await session_of(call).change()
    assert [(message.role, message.text_content) for message in playing] == [
        ("user", "call 3 question 1"),
        ("assistant", "answer to call 3 question 1, turn 1"),
    ]
    assert call.session.chat_ctx.items == []
    await at_boundary(call)
    assert session_of(call).playing == ()
    assert [item.id for item in call.session.chat_ctx.items] == [message.id for message in playing]


async def test_a_session_that_cannot_be_asked_for_ends_the_attempt_and_not_the_call(
    gemini: Simulator, open_call: OpenCall, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = open_call()
    await call.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(call)
    build = session_of(call)._build_connect_config
    failures = [ValueError("tool look_up has a schema that Gemini rejects")] * 2

    def config() -> object:
        if failures:
            raise failures.pop()
        return build()

    monkeypatch.setattr(session_of(call), "_build_connect_config", config)
    await gemini.add_fault(Fault("close", "now"))
    assert await call.ask(Frame(Kind.ASK, 3, 2)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_what_the_handle_does_not_hold_is_told_once(gemini: Simulator, open_call: OpenCall) -> None:
    old = open_call()
    await old.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(old)
    saved = session_of(old).checkpoint()
    await old.ask(Frame(Kind.ASK, 3, 2))
    await at_boundary(old)
    await session_of(old).hold()

    context = old.session.chat_ctx
    # Told again, the first question would now count as another one.
    context.messages()[0].content = ["call 3 question 9"]
    new = open_call(saved)
    await new.session.update_chat_ctx(context)
    assert await new.ask(Frame(Kind.ASK, 3, 3)) == [Frame(Kind.ANSWER, 3, 3, turns=3)]
    assert gemini.sessions[-1].resumed


async def test_the_agent_is_told_of_a_gap(gemini: Simulator, open_call: OpenCall) -> None:
    gaps: list[Gap] = []
    call = open_call(on_gap=gaps.append)
    await call.ask(Frame(Kind.ASK, 3, 1))
    before = counted("1011")
    gemini.faults += [Fault("close", "turn"), Fault("close", "setup", times=2)]
    assert await call.ask(Frame(Kind.ASK, 3, 2)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
    assert [(gap.reason, gap.turn_lost) for gap in gaps] == [("1011", False)]
    assert counted("1011") == before + 1


async def test_a_turn_that_ends_every_connection_is_given_up_and_the_call_goes_on(
    gemini: Simulator, open_call: OpenCall
) -> None:
    gaps: list[Gap] = []
    call = open_call(on_gap=gaps.append)
    await call.ask(Frame(Kind.ASK, 3, 1))
    gemini.faults.append(Fault("close", "turn", turn=2, times=3))
    call.say(Frame(Kind.ASK, 3, 2))
    async with asyncio.timeout(DEADLINE_S):
        await gemini.wait_for_sessions(4)
    await at_boundary(call)
    assert [gap.turn_lost for gap in gaps] == [False, False, True]
    while not call.generations.empty():
        assert await frames_of(await call.generation()) == []
    assert (await call.ask(Frame(Kind.ASK, 3, 3)))[0].question == 3
    while not call.errors.empty():
        assert call.errors.get_nowait().recoverable


async def test_a_held_session_keeps_what_it_hears_and_goes_on_with_it(gemini: Simulator, open_call: OpenCall) -> None:
    call = open_call()
    await call.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(call)
    await session_of(call).hold()
    call.say(Frame(Kind.ASK, 3, 2))
    assert not gemini.open
    assert len(gemini.turns) == 1

    await session_of(call).resume()
    assert await frames_of(await call.generation()) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
    assert call.errors.empty()


@pytest.mark.parametrize("said_s", [0.06, 0.5], ids=["hardly-begun", "under-way"])
@pytest.mark.parametrize("off_s", [-0.3, 0.0, 0.3], ids=["cut-too-early", "cut-known", "cut-too-late"])
async def test_a_successor_adds_what_it_has_heard_itself(
    gemini: Simulator, open_call: OpenCall, off_s: float, said_s: float
) -> None:
    """Each word once, though a busy node tells of the cut late, or hears the caller late itself."""
    old = open_call()
    await old.ask(Frame(Kind.ASK, 3, 1))
    await at_boundary(old)
    new = open_call(held=True)
    question = encode(Frame(Kind.ASK, 3, 2), RATE)
    begun = np.concatenate([np.zeros(RATE // 2, np.int16), question[: int(said_s * RATE)]])
    old.push(begun)
    new.push(begun)
    saved = await session_of(old).hold()
    rest = np.concatenate([question[int(said_s * RATE) :], np.zeros(RATE // 2, np.int16)])
    new.push(rest)

    # A call's audio comes as fast as time passes.
    await session_of(new).resume(saved, cut=time.monotonic() - len(rest) / RATE + off_s)
    assert await frames_of(await new.generation()) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
