"""What another connection is given of a turn that is not answered."""

from __future__ import annotations

import math
from array import array

import pytest
from google.genai import types

from voice_agent.gemini.audio import RATE, CallerAudio
from voice_agent.gemini.checkpoint import ModelCheckpoint
from voice_agent.gemini.turn import Replay, Turn

CHUNK_S = 0.05
CHUNK = round(CHUNK_S * RATE)
SILENCE = bytes(CHUNK * 2)
SPEECH = array("h", [round(8000 * math.sin(n / 5)) for n in range(CHUNK)]).tobytes()
NOISE = array("h", [round(400 * math.sin(n / 5)) for n in range(CHUNK)]).tobytes()


class Clock:
    """Time that passes with the audio."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Line:
    """A turn, and the caller's end of the line."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.audio = CallerAudio(clock=self.clock)
        self.turn = Turn(self.audio, self.clock)

    def hear(self, chunk: bytes, seconds: float) -> None:
        for _ in range(round(seconds / CHUNK_S)):
            self.clock.now += CHUNK_S
            self.turn.hear(chunk)

    def ask(self) -> None:
        self.hear(SPEECH, 1.0)
        self.hear(SILENCE, 1.0)

    def say(self, seconds: float, words: str = "") -> None:
        data = bytes(round(seconds * 48_000))
        part = types.Part(inline_data=types.Blob(data=data, mime_type="audio/pcm"))
        content = types.LiveServerContent(model_turn=types.Content(parts=[part]))
        if words:
            content.output_transcription = types.Transcription(text=words)
        self.serve(content)

    def serve(self, content: types.LiveServerContent) -> bool:
        return self.turn.take(types.LiveServerMessage(server_content=content), 1)

    def finish(self) -> None:
        self.serve(types.LiveServerContent(generation_complete=True))
        self.serve(types.LiveServerContent(turn_complete=True))

    def call(self, call_id: str | None = "c1", name: str = "look_up") -> None:
        call = types.FunctionCall(id=call_id, name=name, args={"topic": "tea"})
        self.turn.take(types.LiveServerMessage(tool_call=types.LiveServerToolCall(function_calls=[call])), 1)

    def handle(self, *, resumable: bool = True) -> None:
        update = types.LiveServerSessionResumptionUpdate(resumable=resumable, new_handle="h" if resumable else None)
        self.turn.take(types.LiveServerMessage(session_resumption_update=update), 1)

    @property
    def kept_s(self) -> float:
        return len(self.audio.pcm) / 2 / RATE


@pytest.fixture
def line() -> Line:
    return Line()


def words(content: types.LiveClientContent | None) -> list[tuple[str | None, str]]:
    assert content
    return [(turn.role, part.text or "") for turn in content.turns or [] for part in turn.parts or []]


def test_an_utterance_is_kept_with_its_beginning_until_it_is_answered(line: Line) -> None:
    line.hear(SILENCE, 5)
    line.hear(SPEECH, 1)
    assert line.turn.resume(2).how is Replay.AUDIO
    assert 1.3 <= line.kept_s <= 1.4
    line.hear(SILENCE, 1)
    line.say(1.0)
    line.finish()
    assert line.turn.resume(2).how is None
    assert line.kept_s < 0.5


@pytest.mark.parametrize(("pause_s", "quiet_s"), [(0.6, 0.6), (1.5, 1.5), (90, 60)])
def test_what_is_kept_tells_since_when_the_caller_has_been_quiet(line: Line, pause_s: float, quiet_s: float) -> None:
    line.hear(SPEECH, 1)
    line.hear(SILENCE, pause_s)
    line.say(1.0)
    line.finish()
    assert line.turn.save(None, ()).quiet_s == pytest.approx(quiet_s)


def test_a_long_utterance_is_kept_up_to_a_minute(line: Line) -> None:
    for _ in range(90):
        line.hear(SPEECH, 0.9)
        line.hear(SILENCE, 0.1)
    assert line.kept_s == 60


def test_steady_noise_is_no_utterance(line: Line) -> None:
    line.hear(NOISE, 6)
    line.handle()
    assert not line.audio.speaking
    line.clock.now += 5
    assert line.turn.idle()


def test_speech_over_steady_noise_is_one(line: Line) -> None:
    line.hear(NOISE, 10)
    line.hear(SPEECH, 0.5)
    assert line.audio.speaking


def test_a_muted_microphone_ends_an_utterance(line: Line) -> None:
    line.hear(SPEECH, 0.5)
    assert line.audio.speaking
    line.clock.now += 2
    assert not line.audio.speaking


def test_what_is_said_into_an_answer_is_kept_alone(line: Line) -> None:
    line.ask()
    line.say(2.0)
    line.hear(SPEECH, 1.0)
    line.serve(types.LiveServerContent(interrupted=True))
    line.serve(types.LiveServerContent(turn_complete=True))
    assert line.turn.resume(2).how is Replay.AUDIO
    assert 1.3 <= line.kept_s <= 1.4


def test_what_was_said_into_an_answer_that_ends_in_its_final_silence_is_kept(line: Line) -> None:
    line.ask()
    line.say(2.0)
    line.hear(SPEECH, 1.0)
    line.hear(SILENCE, 0.2)
    line.finish()
    line.hear(SILENCE, 1.0)
    assert line.turn.resume(2).how is Replay.AUDIO


def test_what_is_said_while_an_answer_is_played_is_kept_when_the_service_hears_it(line: Line) -> None:
    line.ask()
    line.say(2.0)
    line.serve(types.LiveServerContent(generation_complete=True))
    line.hear(SPEECH, 1.0)
    line.serve(types.LiveServerContent(interrupted=True))
    line.serve(types.LiveServerContent(turn_complete=True))
    assert line.turn.resume(2).how is Replay.AUDIO
    assert 1.3 <= line.kept_s <= 1.4


def test_an_utterance_that_interrupts_a_greeting_is_kept_with_its_beginning(line: Line) -> None:
    line.hear(SPEECH, 1.0)
    line.say(0.5)
    line.hear(SPEECH, 0.5)
    line.serve(types.LiveServerContent(interrupted=True))
    line.serve(types.LiveServerContent(turn_complete=True))
    line.turn.resume(2)
    assert line.kept_s == 1.5


def test_an_answer_whose_end_is_told_late_is_over_when_the_caller_speaks_again(line: Line) -> None:
    line.ask()
    line.say(2.0)
    line.hear(SPEECH, 1.0)
    line.serve(types.LiveServerContent(turn_complete=True))
    line.turn.resume(2)
    assert 1.3 <= line.kept_s <= 1.4


def test_late_transcription_belongs_to_the_turn_before(line: Line) -> None:
    line.ask()
    line.say(2.0)
    late = types.LiveServerContent(
        input_transcription=types.Transcription(text="Which tea?"),
        output_transcription=types.Transcription(text="The green one."),
    )
    line.serve(types.LiveServerContent(generation_complete=True))
    line.serve(late)
    line.serve(types.LiveServerContent(turn_complete=True))
    line.serve(late)
    line.ask()
    line.say(1.0, "Hot.")
    assert (line.turn.user_words, line.turn.said_words) == ("", "Hot.")
    line.finish()
    assert line.turn.resume(2).how is None, "the second question would be answered again"


def test_a_turn_that_the_model_passes_over_is_over(line: Line) -> None:
    line.ask()
    line.serve(types.LiveServerContent(turn_complete=True))
    assert line.turn.resume(2).how is None


def test_an_answer_of_a_word_is_given_again(line: Line) -> None:
    line.ask()
    line.say(0.3, "The ")
    assert line.turn.resume(2).how is Replay.AUDIO
    assert line.turn.said_s == 0


def test_a_longer_answer_is_continued(line: Line) -> None:
    line.ask()
    line.serve(types.LiveServerContent(input_transcription=types.Transcription(text="Which tea?")))
    line.say(2.0, "The green ")
    resumption = line.turn.resume(2)
    assert resumption.how is Replay.CONTINUE
    assert words(resumption.content)[:2] == [("user", "Which tea?"), ("model", "The green ")]
    assert line.kept_s < 0.5, "the question would be answered again"
    # And once more, when that connection ends too.
    line.say(1.0, "one ")
    assert words(line.turn.resume(3).content)[1] == ("model", "The green one ")


def test_an_answer_is_continued_of_which_only_the_words_are_left_though_the_caller_speaks_already(line: Line) -> None:
    saved = ModelCheckpoint(user_words="Which tea?", said_words="The green ", said_s=2.0, generating=True)
    line.turn.load(saved, 1600)
    line.hear(SPEECH, 0.5)
    resumption = line.turn.resume(1)
    assert resumption.how is Replay.CONTINUE
    assert words(resumption.content)[:2] == [("user", "Which tea?"), ("model", "The green ")]
    assert line.kept_s >= 0.5, "what the caller has begun to say is heard too"


def test_an_answer_to_words_that_nobody_wrote_down_is_given_again(line: Line) -> None:
    line.ask()
    line.say(2.0, "The green ")
    assert line.turn.resume(2).how is Replay.AUDIO


def test_an_answer_that_came_whole_is_not_given_again(line: Line) -> None:
    line.ask()
    line.say(2.0)
    line.serve(types.LiveServerContent(generation_complete=True))
    assert line.turn.resume(2).how is None


def test_a_functions_result_is_told_when_it_comes(line: Line) -> None:
    line.ask()
    line.call()
    assert line.turn.resume(2).content is None
    response = types.FunctionResponse(id="c1", name="look_up", response={"output": "42"})
    assert line.turn.respond([response], 2) == []
    assert '"result": {"output": "42"}' in words(line.turn.results(2))[0][1]
    # It was not answered yet.
    assert line.turn.resume(3).how is Replay.REQUEST
    line.say(1.0)
    line.finish()
    assert line.turn.resume(4).how is None


def test_a_functions_result_that_the_old_connection_had_is_told_again(line: Line) -> None:
    line.ask()
    line.call(None)
    response = types.FunctionResponse(name="look_up", response={"output": "42"})
    assert line.turn.respond([response], 1) == [response]
    resumption = line.turn.resume(2)
    assert resumption.how is Replay.TOOL
    assert "42" in words(resumption.content)[0][1]


def test_a_result_of_no_open_call_is_not_sent(line: Line) -> None:
    assert line.turn.respond([types.FunctionResponse(id="old", name="look_up", response={})], 1) == []


def test_a_function_that_the_service_took_back_is_forgotten(line: Line) -> None:
    line.ask()
    line.call()
    cancellation = types.LiveServerToolCallCancellation(ids=["c1"])
    line.turn.take(types.LiveServerMessage(tool_call_cancellation=cancellation), 1)
    assert line.turn.resume(2).how is Replay.AUDIO


@pytest.mark.parametrize("moment", ["speaking", "waiting", "answering", "calling", "playing", "without a handle"])
def test_a_connection_is_not_left_in_the_middle(line: Line, moment: str) -> None:
    line.handle()
    assert line.turn.idle()
    line.hear(SPEECH, 1.0)
    if moment != "speaking":
        line.hear(SILENCE, 1.0)
    if moment == "answering":
        line.say(1.0)
    if moment == "calling":
        line.call()
    if moment == "playing":
        line.say(1.0)
        line.serve(types.LiveServerContent(generation_complete=True))
    if moment == "without a handle":
        line.handle(resumable=False)
        line.say(1.0)
        line.finish()
    assert not line.turn.idle()


def test_a_cough_does_not_hold_a_connection_for_long(line: Line) -> None:
    line.handle()
    line.hear(SPEECH, 0.2)
    line.hear(SILENCE, 3.6)
    assert line.turn.idle()
    assert line.turn.stalled_at(10) is None


@pytest.mark.parametrize("moment", ["waiting", "answering", "after a function"])
def test_a_service_that_owes_an_answer_and_is_silent_has_stalled(line: Line, moment: str) -> None:
    line.ask()
    if moment == "answering":
        line.say(0.2)
    if moment == "after a function":
        line.call()
        line.hear(SILENCE, 30)
        assert line.turn.stalled_at(10) is None
        line.turn.respond([types.FunctionResponse(id="c1", name="look_up", response={})], 1)
    due = line.turn.stalled_at(10)
    assert due is not None
    assert 9 < due - line.clock.now <= 10


def test_a_request_after_a_long_silence_is_given_its_time(line: Line) -> None:
    line.handle()
    line.hear(SILENCE, 60)
    line.turn.ask(types.LiveClientContent(turn_complete=True))
    assert line.turn.stalled_at(10) == line.clock.now + 10


@pytest.mark.parametrize("moment", ["silent", "speaking", "playing"])
def test_a_service_that_owes_nothing_may_be_silent(line: Line, moment: str) -> None:
    if moment == "speaking":
        line.hear(SPEECH, 1.0)
    if moment == "playing":
        line.ask()
        line.say(60.0)
        line.serve(types.LiveServerContent(generation_complete=True))
    assert line.turn.stalled_at(10) is None


def test_a_handle_that_comes_in_the_middle_of_a_turn_is_not_taken(line: Line) -> None:
    assert line.turn.takes_handle()
    line.hear(SPEECH, 1.0)
    assert line.turn.takes_handle(), "nothing shows that the service has begun with the turn"
    line.serve(types.LiveServerContent(input_transcription=types.Transcription(text="Which ")))
    assert not line.turn.takes_handle()
