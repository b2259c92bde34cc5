"""A conversation's turns: who speaks when, and what is said."""

from __future__ import annotations

import time

import numpy as np
import pytest
from google import genai
from google.genai import types
from google.oauth2.credentials import Credentials

from lab.gemini import Simulator
from lab.gemini.tests.client import (
    ASK,
    MODEL,
    Connect,
    answers,
    ask,
    audio_of,
    closed_by_server,
    interrupted,
    messages_until,
    say,
    send,
    turn_complete,
)
from lab.signals import Frame, Kind, encode, hum


def text(words: str, role: str = "user") -> types.Content:
    return types.Content(role=role, parts=[types.Part(text=words)])


async def test_a_question_is_answered_with_its_number_and_the_turns_remembered(connect: Connect) -> None:
    async with connect() as session:
        messages = await ask(session)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 5, turns=1)]
    contents = [m.server_content for m in messages if m.server_content]
    heard = [c.input_transcription.text for c in contents if c.input_transcription]
    said = [c.output_transcription.text for c in contents if c.output_transcription]
    assert heard == ["call 3 question 5"]
    assert said == ["answer to call 3 question 5, turn 1"]
    kinds = [name for c in contents for name in ("generation_complete", "turn_complete") if getattr(c, name)]
    assert kinds == ["generation_complete", "turn_complete"]


async def test_usage_counts_the_audio_of_the_whole_conversation(connect: Connect) -> None:
    async with connect() as session:
        first = (await ask(session))[-1].usage_metadata
        second = (await ask(session, Frame(Kind.ASK, 3, 6)))[-1].usage_metadata
    assert first
    assert second
    assert first.response_token_count == 20, "0.8 s of audio at 25 tokens a second"
    assert first.prompt_token_count
    assert first.total_token_count == first.prompt_token_count + 20
    assert second.prompt_token_count == 2 * first.prompt_token_count + 20


async def test_without_transcription_nothing_is_written(connect: Connect) -> None:
    async with connect(input_audio_transcription=None, output_audio_transcription=None) as session:
        contents = [m.server_content for m in await ask(session) if m.server_content]
    assert not any(c.input_transcription or c.output_transcription for c in contents)


@pytest.mark.parametrize("with_key", [True, False], ids=["express", "project"])
async def test_vertex_ai(sim: Simulator, http_options: types.HttpOptions, with_key: bool) -> None:
    options = http_options.model_copy(update={"api_version": None})
    if with_key:
        client = genai.Client(vertexai=True, api_key="express", http_options=options)
    else:
        credentials = Credentials("token")  # type: ignore[no-untyped-call]
        client = genai.Client(vertexai=True, project="p", location="l", credentials=credentials, http_options=options)
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO])
    async with client.aio.live.connect(model=MODEL, config=config) as session:
        assert session.session_id
        assert answers(await ask(session)) == [Frame(Kind.ANSWER, 3, 5, turns=1)]
    where = "" if with_key else "projects/p/locations/l/"
    assert sim.sessions[-1].model == f"{where}publishers/google/models/{MODEL}"


async def test_audio_of_another_rate_is_understood(connect: Connect) -> None:
    async with connect() as session:
        await say(session, ASK, rate=24_000)
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.ANSWER, 3, 5, turns=1)]


async def test_speech_without_a_frame_is_a_turn_that_was_not_understood(sim: Simulator, connect: Connect) -> None:
    async with connect() as session:
        await send(session, np.concatenate([hum(0.6, 16_000), np.zeros(8_000, np.int16)]))
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 0, 0, turns=1)]
    [turn] = sim.turns
    assert (turn.call, turn.question, turn.kind) == (None, None, "UNCLEAR")


async def test_barge_in_interrupts_the_answer_and_is_answered_itself(sim: Simulator, connect: Connect) -> None:
    async with connect() as session:
        await say(session, Frame(Kind.ASK_LONG, 3, 1))
        await messages_until(session, lambda m: m.data)
        await say(session, Frame(Kind.ASK, 3, 2))
        stopped = await messages_until(session, interrupted)
        stopped += await messages_until(session, turn_complete)
        messages = await messages_until(session, turn_complete)
    assert not [m for m in stopped if m.server_content and m.server_content.generation_complete]
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
    assert sim.turns[0].answered
    assert sim.turns[1].completed


async def test_speech_while_the_answer_still_plays_interrupts_it(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.update({"answer_s": 20, "playback_pace": 1})
    async with connect() as session:
        await say(session, ASK)
        await messages_until(session, lambda m: m.server_content and m.server_content.generation_complete)
        await say(session, Frame(Kind.ASK, 3, 6))
        assert interrupted((await messages_until(session, interrupted))[-1])


async def test_no_interruption_when_the_client_asks_for_none(connect: Connect) -> None:
    async with connect(realtime_input_config={"activity_handling": "NO_INTERRUPTION"}) as session:
        await say(session, Frame(Kind.ASK_LONG, 3, 1))
        await messages_until(session, lambda m: m.data)
        await say(session, Frame(Kind.ASK, 3, 2))
        first = await messages_until(session, turn_complete)
        second = await messages_until(session, turn_complete)
    assert not [m for m in first + second if interrupted(m)]
    assert answers(second) == [Frame(Kind.ANSWER, 3, 2, turns=2)], "what was said meanwhile is answered then"


async def test_activity_told_by_the_client(connect: Connect) -> None:
    manual = {"automatic_activity_detection": {"disabled": True}}
    async with connect(realtime_input_config=manual) as session:
        await session.send_realtime_input(activity_start=types.ActivityStart())
        await say(session, ASK, silence_s=0.1)
        await session.send_realtime_input(activity_end=types.ActivityEnd())
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 5, turns=1)]


async def test_activity_cannot_be_told_while_the_server_detects_it(connect: Connect) -> None:
    async with connect() as session, closed_by_server() as closed:
        await session.send_realtime_input(activity_start=types.ActivityStart())
        await messages_until(session, turn_complete)
    assert closed.code == 1007


async def test_the_end_of_the_stream_ends_the_utterance(connect: Connect) -> None:
    async with connect() as session:
        await say(session, ASK, silence_s=0.0)
        await session.send_realtime_input(audio_stream_end=True)
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.ANSWER, 3, 5, turns=1)]


async def test_the_client_may_set_the_silence_that_ends_an_utterance(sim: Simulator, connect: Connect) -> None:
    detection = {"automatic_activity_detection": {"silence_duration_ms": 1000}}
    async with connect(realtime_input_config=detection) as session:
        await say(session, Frame(Kind.ASK, 3, 1), silence_s=0.6)
        await say(session, Frame(Kind.ASK, 3, 2), silence_s=1.2)
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.ANSWER, 3, 2, turns=1)]
    assert len(sim.turns) == 1, "a pause of 0.6 s is within one utterance"


async def test_a_pause_in_the_middle_of_a_sentence_does_not_end_it(sim: Simulator, connect: Connect) -> None:
    pcm = encode(ASK, 16_000)
    half, pause = pcm.size // 2, np.zeros(16_000 * 9 // 10, dtype=np.int16)
    async with connect() as session:
        await send(session, np.concatenate([pcm[:half], pause, pcm[half:], pause]))
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.ANSWER, 3, 5, turns=1)]
    assert len(sim.turns) == 1


async def test_a_sentence_that_is_never_finished_is_not_understood(sim: Simulator, connect: Connect) -> None:
    pcm = encode(ASK, 16_000)
    async with connect() as session:
        await send(session, np.concatenate([pcm[: pcm.size // 2], np.zeros(3 * 16_000, dtype=np.int16)]))
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.ANSWER, 0, 0, turns=1)]
    assert [turn.kind for turn in sim.turns] == ["UNCLEAR"]


async def test_a_prompt_is_answered_with_a_greeting(connect: Connect) -> None:
    async with connect() as session:
        await session.send_client_content(turns=text("Greet the caller."), turn_complete=True)
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.GREETING, 0, 0, turns=0)]
        await session.send_realtime_input(text="Say hello again.")
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.GREETING, 0, 0, turns=0)]


async def test_content_interrupts_the_answer_in_progress(connect: Connect) -> None:
    async with connect() as session:
        await say(session, Frame(Kind.ASK_LONG, 3, 1))
        await messages_until(session, lambda m: m.data)
        await session.send_client_content(turns=text("Be brief.", role="model"), turn_complete=False)
        stopped = await messages_until(session, interrupted)
    assert not [m for m in stopped if m.server_content and m.server_content.generation_complete]


async def test_a_replayed_history_is_remembered(connect: Connect) -> None:
    history: list[types.Content | types.ContentDict] = [
        text("call 3 question 1"),
        text("answer to call 3 question 1, turn 1", role="model"),
        text("call 3 question 2"),
        text("answer to call 3 question 2, turn 2", role="model"),
    ]
    async with connect() as session:
        await session.send_client_content(turns=history, turn_complete=False)
        assert answers(await ask(session, Frame(Kind.ASK, 3, 3))) == [Frame(Kind.ANSWER, 3, 3, turns=3)]
        await session.send_client_content(turns=text("."), turn_complete=True)
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.GREETING, 3, 0, turns=3)]


async def test_a_question_that_a_replayed_history_leaves_open_is_answered_on_request(connect: Connect) -> None:
    history: list[types.Content | types.ContentDict] = [
        text("call 3 question 1"),
        text("answer to call 3 question 1, turn 1", role="model"),
        text("call 3 question 2"),
    ]
    async with connect() as session:
        await session.send_client_content(turns=history, turn_complete=False)
        await session.send_client_content(turns=text("."), turn_complete=True)
        assert answers(await messages_until(session, turn_complete)) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_text_answers_are_refused_as_by_a_native_audio_model(connect: Connect) -> None:
    async with closed_by_server() as closed, connect(response_modalities=["TEXT"]):
        pass
    assert closed.code == 1007


async def test_a_turn_ends_when_its_answer_should_have_played(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.playback_pace = 1
    async with connect() as session:
        await ask(session)
        ended = time.time()
    [turn] = sim.turns
    assert turn.answered
    assert ended - turn.answered >= 0.7, "the answer is 0.8 s long"


async def test_an_answer_is_sent_faster_than_it_plays(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.answer_s = 5.0
    async with connect() as session:
        messages = await ask(session)
    assert audio_of(messages).size == 5 * 24_000
    [turn] = sim.turns
    assert turn.answered
    assert turn.completed
    assert turn.completed - turn.answered < 5
