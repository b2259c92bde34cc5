"""Each part of the protocol, seen by the real google-genai client."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp
import numpy as np
import pytest
from google import genai
from google.genai import errors, types
from google.genai.live import ConnectionClosed

from lab.gemini import Fault, Simulator
from lab.gemini.tests.conftest import DEADLINE_S, MODEL, Connect, audio_of, messages_until, say
from lab.signals import Decoder, Frame, Kind

ASK = Frame(Kind.ASK, call=3, question=5)
HANDLES: dict[str, Any] = {"session_resumption": {}}
LOOKUP = {
    "function_declarations": [
        {"name": "look_up", "parameters": {"type": "OBJECT", "properties": {"topic": {"type": "STRING"}}}}
    ]
}


def turn_complete(message: types.LiveServerMessage) -> bool:
    return bool(message.server_content and message.server_content.turn_complete)


def resumable(message: types.LiveServerMessage) -> bool:
    return bool(message.session_resumption_update and message.session_resumption_update.resumable)


def closed_with(error: pytest.ExceptionInfo[BaseException]) -> int | None:
    """The close code: google-genai raises APIError or websockets' ConnectionClosed, by its version."""
    code = getattr(error.value, "code", None)
    return code if isinstance(code, int) else getattr(getattr(error.value, "rcvd", None), "code", None)


def answers(messages: list[types.LiveServerMessage]) -> list[Frame]:
    return [heard.frame for heard in Decoder(24000).feed(np.append(audio_of(messages), np.zeros(4800, np.int16)))]


async def test_a_question_is_answered_with_its_number_and_the_turns_remembered(connect: Connect) -> None:
    async with connect() as session:
        await say(session, ASK)
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 5, turns=1)]
    contents = [m.server_content for m in messages if m.server_content]
    heard = [c.input_transcription.text for c in contents if c.input_transcription]
    said = [c.output_transcription.text for c in contents if c.output_transcription]
    assert heard == ["call 3 question 5"]
    assert said == ["answer to call 3 question 5, turn 1"]
    kinds = [name for c in contents for name in ("generation_complete", "turn_complete") if getattr(c, name)]
    assert kinds == ["generation_complete", "turn_complete"]
    usage = messages[-1].usage_metadata
    assert usage
    assert usage.response_token_count == 20, "0.8 s of audio at 25 tokens a second"


async def test_vertex_ai_path_and_setup(sim: Simulator) -> None:
    trust = ssl.create_default_context(cafile=str(sim.certificate))
    options = types.HttpOptions(base_url=sim.url, async_client_args={"ssl": trust})
    client = genai.Client(api_key="express", vertexai=True, http_options=options)
    async with client.aio.live.connect(model=MODEL, config={"response_modalities": ["AUDIO"]}) as session:
        await say(session, ASK)
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 5, turns=1)]


async def test_barge_in_interrupts_the_answer_and_is_answered_itself(connect: Connect) -> None:
    async with connect() as session:
        await say(session, Frame(Kind.ASK_LONG, 3, 1))
        await messages_until(session, lambda m: m.data)
        await say(session, Frame(Kind.ASK, 3, 2))
        interrupted = await messages_until(session, lambda m: m.server_content and m.server_content.interrupted)
        messages = await messages_until(session, lambda m: bool(m.data))
        messages += await messages_until(session, turn_complete)
    assert not answers(interrupted[-1:])
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_no_interruption_when_the_client_asks_for_none(connect: Connect) -> None:
    async with connect(realtime_input_config={"activity_handling": "NO_INTERRUPTION"}) as session:
        await say(session, Frame(Kind.ASK_LONG, 3, 1))
        started = await messages_until(session, lambda m: m.data)
        for _ in range(4):
            blob = types.Blob(data=np.full(800, 9000, np.int16).tobytes(), mime_type="audio/pcm;rate=16000")
            await session.send_realtime_input(audio=blob)
        messages = started + await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 1, turns=1)]
    assert not [m for m in messages if m.server_content and m.server_content.interrupted]


async def test_activity_told_by_the_client(connect: Connect) -> None:
    manual = {"automatic_activity_detection": {"disabled": True}}
    async with connect(realtime_input_config=manual) as session:
        await session.send_realtime_input(activity_start=types.ActivityStart())
        await say(session, ASK, silence_s=0.1)
        await session.send_realtime_input(activity_end=types.ActivityEnd())
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 5, turns=1)]


async def test_a_function_is_called_and_its_response_awaited(connect: Connect) -> None:
    async with connect(tools=[LOOKUP]) as session:
        await say(session, Frame(Kind.ASK_TOOL, 3, 1))
        called = await messages_until(session, lambda m: m.tool_call)
        tool_call = called[-1].tool_call
        assert tool_call
        assert tool_call.function_calls
        call = tool_call.function_calls[0]
        assert (call.name, call.args) == ("look_up", {"topic": "example"})
        assert not audio_of(called).size
        response = types.FunctionResponse(id=call.id, name=call.name, response={"output": "42"})
        await session.send_tool_response(function_responses=[response])
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 1, turns=1)]


async def test_a_function_call_is_cancelled_by_barge_in(connect: Connect) -> None:
    async with connect(tools=[LOOKUP]) as session:
        await say(session, Frame(Kind.ASK_TOOL, 3, 1))
        called = await messages_until(session, lambda m: m.tool_call)
        await say(session, Frame(Kind.ASK, 3, 2))
        cancelled = await messages_until(session, lambda m: m.tool_call_cancellation)
        messages = await messages_until(session, lambda m: bool(m.data))
        messages += await messages_until(session, turn_complete)
    tool_call, cancellation = called[-1].tool_call, cancelled[-1].tool_call_cancellation
    assert tool_call
    assert tool_call.function_calls
    assert cancellation
    assert cancellation.ids == [tool_call.function_calls[0].id]
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_a_handle_brings_the_conversation_back(connect: Connect) -> None:
    async with connect(**HANDLES) as session:
        await say(session, Frame(Kind.ASK, 3, 1))
        messages = await messages_until(session, resumable)
    states = [m.session_resumption_update.resumable for m in messages if m.session_resumption_update]
    assert not states[0], "not resumable while it generates"
    update = messages[-1].session_resumption_update
    assert update
    async with connect(session_resumption={"handle": update.new_handle}) as session:
        await say(session, Frame(Kind.ASK, 3, 2))
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_without_a_handle_nothing_is_remembered(connect: Connect) -> None:
    for number in (1, 2):
        async with connect() as session:
            await say(session, Frame(Kind.ASK, 3, number))
            messages = await messages_until(session, turn_complete)
        assert answers(messages) == [Frame(Kind.ANSWER, 3, number, turns=1)]


async def test_a_replayed_history_is_remembered(connect: Connect) -> None:
    history = [
        types.Content(role="user", parts=[types.Part(text="call 3 question 1")]),
        types.Content(role="model", parts=[types.Part(text="answer to call 3 question 1, turn 1")]),
        types.Content(role="user", parts=[types.Part(text="call 3 question 2")]),
    ]
    async with connect() as session:
        await session.send_client_content(turns=history, turn_complete=False)
        await say(session, Frame(Kind.ASK, 3, 3))
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 3, turns=3)]


async def test_a_prompt_is_answered_with_a_greeting(connect: Connect) -> None:
    async with connect() as session:
        await session.send_client_content(
            turns=types.Content(role="user", parts=[types.Part(text="Greet the caller.")]), turn_complete=True
        )
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.GREETING, 0, 0, turns=0)]


@pytest.mark.parametrize("handle", ["unknown", "expired"])
async def test_a_handle_that_is_not_good_is_refused(sim: Simulator, connect: Connect, handle: str) -> None:
    if handle == "expired":
        sim.behaviour.handle_ttl_s = 0.0
        async with connect(**HANDLES) as session:
            await say(session, ASK)
            update = (await messages_until(session, resumable))[-1].session_resumption_update
        assert update
        assert update.new_handle
        handle = update.new_handle
    with pytest.raises((errors.APIError, ConnectionClosed)) as refused:
        async with connect(session_resumption={"handle": handle}):
            pass
    assert closed_with(refused) == 1008


async def test_go_away_comes_before_the_connection_limit(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.connection_limit_s, sim.behaviour.goaway_lead_s = 0.6, 0.4
    async with connect(context_window_compression={"sliding_window": {}}) as session:
        message = (await messages_until(session, lambda m: m.go_away))[-1]
        assert message.go_away
        assert message.go_away.time_left == "0.4s"
        with pytest.raises((errors.APIError, ConnectionClosed)) as ended:
            await messages_until(session, lambda m: False)
    assert closed_with(ended) == 1011


async def test_compression_lifts_the_session_limit(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.session_limit_s, sim.behaviour.goaway_lead_s = 0.2, 0.1
    async with connect() as session:
        assert (await messages_until(session, lambda m: m.go_away))[-1].go_away
    async with connect(context_window_compression={"sliding_window": {}}) as session:
        await say(session, ASK)
        assert not [m for m in await messages_until(session, turn_complete) if m.go_away]


@pytest.mark.parametrize("code", [1007, 1011])
@pytest.mark.parametrize("when", ["turn", "answer"])
async def test_a_close_in_a_chosen_turn(sim: Simulator, connect: Connect, code: int, when: Any) -> None:
    sim.faults.append(Fault("close", when=when, call=3, turn=2, code=code))
    async with connect() as session:
        await say(session, Frame(Kind.ASK, 3, 1))
        await messages_until(session, turn_complete)
        await say(session, Frame(Kind.ASK, 3, 2))
        with pytest.raises((errors.APIError, ConnectionClosed)) as ended:
            await messages_until(session, turn_complete)
    assert closed_with(ended) == code


async def test_a_close_at_set_up_and_only_once(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("close", when="setup", code=1011))
    with pytest.raises((errors.APIError, ConnectionClosed)):
        async with connect():
            pass
    async with connect() as session:
        await say(session, ASK)
        assert answers(await messages_until(session, turn_complete))


async def test_a_stall_says_nothing_more_and_keeps_the_connection(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("stall"))
    async with connect() as session:
        await say(session, ASK)
        async with asyncio.timeout(DEADLINE_S):
            await sim.wait_for_turns(1)
        await say(session, Frame(Kind.ASK, 3, 6))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await messages_until(session, lambda m: True)
        assert sim.sessions[-1].closed is None


async def test_a_refused_handle(sim: Simulator, connect: Connect) -> None:
    async with connect(**HANDLES) as session:
        await say(session, ASK)
        update = (await messages_until(session, resumable))[-1].session_resumption_update
    assert update
    sim.faults.append(Fault("refuse_handle", when="setup"))
    with pytest.raises((errors.APIError, ConnectionClosed)) as refused:
        async with connect(session_resumption={"handle": update.new_handle}):
            pass
    assert closed_with(refused) == 1008


async def test_text_answers_are_refused_as_by_a_native_audio_model(connect: Connect) -> None:
    with pytest.raises((errors.APIError, ConnectionClosed)) as refused:
        async with connect(response_modalities=["TEXT"]):
            pass
    assert closed_with(refused) == 1007


async def test_the_admin_api_sets_behaviour_and_faults_and_tells_what_happened(
    sim: Simulator, connect: Connect
) -> None:
    async with aiohttp.ClientSession(sim.admin_url) as admin:
        async with admin.post("/sessions/next", json={"answer_s": 2.0}) as response:
            assert response.status == 201
        async with admin.post("/faults", json={"action": "nonsense"}) as response:
            assert response.status == 400
            assert "nonsense" in await response.text()
        async with admin.patch("/behaviour", json={"latency": 1}) as response:
            assert response.status == 400
            assert "latency_s" in await response.text()
        async with connect() as session:
            await say(session, ASK)
            messages = await messages_until(session, turn_complete)
        async with admin.get("/turns") as response:
            turns = await response.json()
        async with admin.get("/sessions") as response:
            sessions = await response.json()
    assert audio_of(messages).size == 2 * 24000
    assert [(turn["call"], turn["question"], turn["turns"]) for turn in turns] == [(3, 5, 1)]
    assert [(s["call"], s["model"]) for s in sessions] == [(3, f"models/{MODEL}")]
