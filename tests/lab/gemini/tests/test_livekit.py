"""LiveKit's Google plugin, unmodified and without a room, in front of the simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.genai import types
from livekit.agents import APIConnectOptions, llm
from livekit.plugins.google.realtime import RealtimeModel

from lab.gemini import Fault, Simulator
from lab.gemini.plugin_call import Call, frames_of
from lab.gemini.tests.client import DEADLINE_S, MODEL
from lab.signals import Frame, Kind

# The plugin's own.
pytestmark = pytest.mark.filterwarnings("ignore:Setting .LiveConnectConfig.generation_config.:DeprecationWarning")


@pytest.fixture
async def call(sim: Simulator, http_options: types.HttpOptions) -> AsyncIterator[Call]:
    model = RealtimeModel(
        model=MODEL,
        api_key="test",
        vertexai=False,
        http_options=http_options,
        session_resumption=types.SessionResumptionConfig(),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
        conn_options=APIConnectOptions(max_retry=3, retry_interval=0.1),
    )
    session = model.session()
    async with asyncio.timeout(DEADLINE_S):
        await sim.wait_for_sessions(1)
    yield Call(session)
    await session.aclose()
    await model.aclose()


async def reconnected(sim: Simulator) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await sim.wait_for_sessions(2)


async def test_questions_are_answered_and_written_down(call: Call) -> None:
    assert await call.ask(Frame(Kind.ASK, 3, 1)) == [Frame(Kind.ANSWER, 3, 1, turns=1)]
    assert await call.ask(Frame(Kind.ASK, 3, 2)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
    written = [(item.role, item.text_content) for item in call.session.chat_ctx.messages()]
    assert written[:2] == [("user", "call 3 question 1"), ("assistant", "answer to call 3 question 1, turn 1")]


async def test_generate_reply_greets(call: Call) -> None:
    reply = await call.session.generate_reply(instructions="Greet the caller.")
    assert reply.user_initiated
    assert await frames_of(reply) == [Frame(Kind.GREETING, 0, 0, turns=0)]


async def test_the_plugin_hears_barge_in(call: Call) -> None:
    call.say(Frame(Kind.ASK_LONG, 3, 1))
    first = await call.generation()
    async for message in first.message_stream:
        async for _ in message.audio_stream:
            break
        break
    call.speech_started.clear()
    call.say(Frame(Kind.ASK, 3, 2))
    async with asyncio.timeout(DEADLINE_S):
        await call.speech_started.wait()
    assert await frames_of(await call.generation()) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_a_function_tool_is_called(sim: Simulator, call: Call) -> None:
    @llm.function_tool
    async def look_up(topic: str) -> str:
        """Look a topic up."""
        return topic

    await call.session.update_tools([look_up])
    await reconnected(sim)
    call.say(Frame(Kind.ASK_TOOL, 3, 1))
    generation = await call.generation()
    async with asyncio.timeout(DEADLINE_S):
        [called] = [function async for function in generation.function_stream]
    assert (called.name, called.arguments) == ("look_up", '{"topic": "example"}')
    context = call.session.chat_ctx
    output: dict[str, Any] = {"name": called.name, "call_id": called.call_id, "output": "42", "is_error": False}
    context.items += [called, llm.FunctionCallOutput(**output)]
    await call.session.update_chat_ctx(context)
    assert await frames_of(await call.generation()) == [Frame(Kind.ANSWER, 3, 1, turns=1)]


async def test_go_away_moves_the_conversation_to_another_connection(sim: Simulator, call: Call) -> None:
    await call.ask_and_keep(Frame(Kind.ASK, 3, 1))
    await sim.add_fault(Fault("goaway", when="now", delay_s=5.0))
    await reconnected(sim)
    assert await call.ask(Frame(Kind.ASK, 3, 2)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
    first, second = sim.sessions
    assert second.resumed
    assert second.conversation == first.conversation


async def test_an_internal_error_is_retried_and_the_memory_kept(sim: Simulator, call: Call) -> None:
    sim.faults.append(Fault("close", turn=2, code=1011))
    await call.ask_and_keep(Frame(Kind.ASK, 3, 1))
    call.say(Frame(Kind.ASK, 3, 2))
    async with asyncio.timeout(DEADLINE_S):
        assert (await call.errors.get()).recoverable
    assert await frames_of(await call.generation()) == [], "the turn was cut after its words were transcribed"
    await reconnected(sim)
    async with asyncio.timeout(DEADLINE_S):
        await sim.wait_until(lambda: sim.sessions[-1].turns == 2)  # the plugin tells the words to the new connection
    assert await call.ask(Frame(Kind.ASK, 3, 3)) == [Frame(Kind.ANSWER, 3, 3, turns=3)]
    assert [record.close_code for record in sim.sessions] == [1011, None]


async def test_an_invalid_argument_is_fatal(sim: Simulator, call: Call) -> None:
    sim.faults.append(Fault("close", code=1007))
    call.say(Frame(Kind.ASK, 3, 1))
    async with asyncio.timeout(DEADLINE_S):
        assert not (await call.errors.get()).recoverable
    assert len(sim.sessions) == 1


async def test_a_refused_handle_ends_the_plugins_session(sim: Simulator, call: Call) -> None:
    await call.ask_and_keep(Frame(Kind.ASK, 3, 1))
    sim.faults.append(Fault("refuse_handle"))
    await sim.add_fault(Fault("goaway", when="now", delay_s=5.0))
    async with asyncio.timeout(DEADLINE_S):
        assert not (await call.errors.get()).recoverable
        await sim.wait_until(lambda: sim.sessions[-1].close_code == 1008)
