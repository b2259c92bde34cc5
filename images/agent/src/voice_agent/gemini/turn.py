"""The turn that is not answered yet: what is known of it, and what another connection must be given of it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from google.genai import types

from voice_agent.gemini.audio import CallerAudio
from voice_agent.gemini.checkpoint import LONGEST_QUIET_SECONDS, ModelCheckpoint, Progress, ToolCall

# The Live API's answers: 24 kHz 16-bit mono.
_ANSWER_BYTES_A_SECOND = 48_000
# Less of an answer than a word or two is said again from the beginning; more is continued.
_CONTINUED_SECONDS = 0.7
# A handle comes right after the turn; the service does not say by when.
_HANDLE_SECONDS = 1.0
# A sound that the service takes no notice of for so long was no utterance.
_NOTICE_SECONDS = 3.0
_SHORTEST_UTTERANCE_SECONDS = 0.25

_CONTINUE = (
    "The connection was interrupted while you were speaking. Go on from exactly where you stopped, in the same "
    "language, without repeating anything and without mentioning the interruption."
)
_RESULTS = (
    "While you were working on my last request the connection was interrupted. Results of the functions that you "
    "called for it: {results}. Do not call them again; now answer my request."
)


class Replay(StrEnum):
    """How another connection is brought to answer the turn."""

    AUDIO = "audio"
    """It hears the caller's words again."""
    CONTINUE = "continue"
    """It goes on with an answer of which the caller has heard a part."""
    TOOL = "tool"
    """It is told the results of the functions that were called."""
    REQUEST = "request"
    """It is asked again for what the agent's code asked for (`generate_reply`)."""


@dataclass(frozen=True)
class Resumption:
    """What to give to a new connection, before the audio that the turn keeps.

    Attributes:
        how: how the turn is brought to its answer; None if there is no such turn, or it waits for a function.
        content: what to say to the model, if anything.
    """

    how: Replay | None = None
    content: types.LiveClientContent | None = None


class Turn:
    """Follows the caller's audio, the server's messages and the functions' results.

    Attributes:
        audio: what the caller said that is not answered.
        user_words: its transcription so far.
        said_words: the answer's transcription so far.
        said_s: seconds of the answer that came.
        generating: the answer has begun; until the service thinks that it was played, or was interrupted.
        generated: all of it has come.
        request: what the agent's code asked the model for, and is not answered.
        played: False from the moment that all of an answer has come until Gemini thinks that it was played: no handle
            stands for it before.
        failures: how many connections ended or stalled over the turn.
    """

    def __init__(self, audio: CallerAudio, clock: Callable[[], float] = time.monotonic) -> None:
        self.audio = audio
        self.user_words = self.said_words = ""
        self.said_s = 0.0
        self.generating = self.generated = False
        self.request: types.LiveClientContent | None = None
        self.played = True
        self.failures = 0
        self._clock = clock
        self._calls: dict[str, ToolCall] = {}
        self._answer_at: int | None = None
        self._interrupted = False
        self._resumable = False
        self._active_at = self._over_at = -math.inf

    @property
    def unanswered(self) -> bool:
        """Whether something waits for an answer, or for the rest of one."""
        return self.audio.pending or self.asked

    @property
    def asked(self) -> bool:
        """Whether somebody has said or asked for something that waits for an answer: a noise does not."""
        return self._heard or self._answering or self.request is not None or bool(self._calls)

    @property
    def _heard(self) -> bool:
        return self.audio.pending and self.audio.voiced_s >= _SHORTEST_UTTERANCE_SECONDS

    @property
    def _answering(self) -> bool:
        return self.generating and not self.generated

    def idle(self) -> bool:
        """Whether the connection can be left without anything having to be said again: caller, model, tools at rest."""
        now = self._clock()
        if self.generating or self._calls or self.request or self.audio.speaking:
            return False
        if self.audio.pending and (
            self.user_words or now - max(self.audio.ended_at, self._active_at) < _NOTICE_SECONDS
        ):
            return False
        return self._resumable or now - self._over_at > _HANDLE_SECONDS

    def takes_handle(self) -> bool:
        """Whether a handle that comes now surely does not hold part of a turn that would be replayed too."""
        return not (self.generating or self._calls or (self.user_words and self.audio.pending))

    def stalled_at(self, patience_s: float) -> float | None:
        """When the service will have been silent for too long, on the clock; None while it owes nothing."""
        if self.audio.speaking or any(call.response is None for call in self._calls.values()):
            return None
        if not self.asked:
            return None
        return max(self._active_at, self.audio.ended_at if self._heard else -math.inf) + patience_s

    def hear(self, pcm: bytes) -> bool:
        """Take the caller's next samples, 50 ms or so; returns whether an utterance began or ended."""
        before = self.audio.pending
        changed = self.audio.push(pcm)
        if self.audio.pending and not before and not self._answering:
            # A transcription that comes before anything is said belongs to the turn before.
            self.user_words = ""
        return changed

    def take(self, message: types.LiveServerMessage, connection: int) -> bool:
        """Take a server message; returns whether the turn was answered by it."""
        self._active_at = self._clock()
        if update := message.session_resumption_update:
            self._resumable = bool(update.resumable and update.new_handle)
        if message.tool_call:
            self._call(message.tool_call.function_calls or [], connection)
        if message.tool_call_cancellation:
            for call_id in message.tool_call_cancellation.ids or []:
                self._calls.pop(call_id, None)
        return self._take_content(message.server_content) if message.server_content else False

    def ask(self, request: types.LiveClientContent) -> None:
        """Note that the agent's code asks the model to speak."""
        self.request = request
        self._active_at = self._clock()

    def respond(self, responses: Iterable[types.FunctionResponse], connection: int) -> list[types.FunctionResponse]:
        """Note functions' results; returns those that this connection has asked for."""
        mine = []
        for response in responses:
            call = self._call_of(response)
            if call is None:
                continue
            call.response = response.response or {}
            self._active_at = self._clock()
            if call.connection == connection:
                mine.append(response)
        return mine

    def results(self, connection: int) -> types.LiveClientContent | None:
        """The results to tell to this connection as text, once all functions that others called have ended."""
        lost = [call for call in self._calls.values() if call.connection != connection]
        if not lost or any(call.response is None for call in lost):
            return None
        self._calls = {call.id: call for call in self._calls.values() if call.connection == connection}
        request = _say([_results(lost)])
        self.ask(request)
        return request

    def resume(self, connection: int) -> Resumption:
        """Decide how a new connection shall answer the turn; what it need not hear again is dropped from the audio."""
        self._active_at = self._clock()
        self._interrupted = False
        if not self.unanswered:
            self._reset()
            return Resumption()
        if self._continuable():
            self._drop_answered_audio()
            return Resumption(Replay.CONTINUE, self._continuation())
        self.said_words, self.said_s = "", 0.0
        self.generating = self.generated = False
        if self._calls:
            self._drop_answered_audio()
            content = self.results(connection)
            return Resumption(Replay.TOOL if content else None, content)
        self.user_words = ""
        self._answer_at = None
        if self.request:
            return Resumption(Replay.REQUEST, self.request)
        return Resumption(Replay.AUDIO)

    def give_up(self) -> None:
        """Forget the turn; what the caller is saying now is kept."""
        self.audio.answered(self.audio.end)
        self._calls.clear()
        self.request = None
        self._reset()

    def progress(self, handle: str | None) -> Progress:
        """How far the turn is, in a conversation with this handle."""
        results = tuple(call.response is not None for call in self._calls.values())
        said = 1 + int(self.said_s) if self.said_s >= _CONTINUED_SECONDS else 0
        return Progress(handle, self.audio.speaking, self.unanswered, said, results)

    def save(self, handle: str | None, covered: tuple[str, ...]) -> ModelCheckpoint:
        """A checkpoint of the turn, for a conversation with this handle."""
        return ModelCheckpoint(
            handle=handle,
            covered_items=covered,
            pending_audio=self.audio.pcm,
            recorded_until=time.time(),
            quiet_s=min(self.audio.quiet_s, LONGEST_QUIET_SECONDS),
            user_words=self.user_words,
            said_words=self.said_words,
            said_s=self.said_s,
            generating=self._answering,
            answered_bytes=self.audio.offset(self._answer_at or 0),
            tool_calls=tuple(self._calls.values()),
            request=_texts(self.request),
        )

    def load(self, saved: ModelCheckpoint, chunk: int) -> None:
        """Go on with a turn that was saved; its audio is taken in pieces of `chunk` bytes."""
        for at in range(0, len(saved.pending_audio), chunk):
            self.audio.push(saved.pending_audio[at : at + chunk])
        self.user_words, self.said_words, self.said_s = saved.user_words, saved.said_words, saved.said_s
        self.generating = saved.generating
        self._calls = {
            call.id: ToolCall(call.id, call.name, call.arguments, call.response) for call in saved.tool_calls
        }
        if saved.request:
            self.request = _say([_content(role, text) for role, text in saved.request])
        if self.generating or self._calls:
            self._answer_at = saved.answered_bytes

    def _take_content(self, content: types.LiveServerContent) -> bool:
        if content.input_transcription and content.input_transcription.text:
            self.user_words += content.input_transcription.text
        audio = sum(
            len(part.inline_data.data or b"")
            for part in (content.model_turn.parts or [] if content.model_turn else [])
            if part.inline_data
        )
        words = (content.output_transcription.text or "") if content.output_transcription else ""
        # Transcription may come after the audio that it belongs to, and then begins nothing.
        if not self.generated and (audio or (words and self.unanswered)):
            self._begin_answer()
            self.generating = True
            self.said_s += audio / _ANSWER_BYTES_A_SECOND
            self.said_words += words
        over = False
        if content.interrupted:
            self._interrupted = True
            over = self._finish(interrupted=True)
        elif content.generation_complete and self.generating:
            over = not self.generated and self._finish()
            self.generating = self.generated = True
            self.played = False
        if content.turn_complete:
            # One that says nothing is the model's answer too, but not the end of an interrupted turn, nor the pause
            # for a function.
            empty = not (self.generated or self._interrupted or self._calls or self.audio.speaking)
            if self._answering or empty:
                over = self._finish()
            self.generating = self.generated = self._interrupted = False
            self.played = True
            self._over_at = self._clock()
            if not self.audio.pending:
                self.user_words = ""
        return over

    def _call(self, calls: Iterable[types.FunctionCall], connection: int) -> None:
        self._begin_answer()
        for call in calls:
            call_id = call.id or f"{connection}-{call.name}-{len(self._calls)}"
            self._calls[call_id] = ToolCall(call_id, call.name or "", call.args or {}, connection=connection)
        # What was said before it ("one moment") is in the chat history.
        self.said_words, self.said_s = "", 0.0
        self.generating = self.generated = False

    def _call_of(self, response: types.FunctionResponse) -> ToolCall | None:
        """The call that a response answers; Vertex AI leaves the id out."""
        if response.id:
            return self._calls.get(response.id)
        open_calls = (call for call in self._calls.values() if call.name == response.name and call.response is None)
        return next(open_calls, None)

    def _begin_answer(self) -> None:
        self.played = True
        if self._answer_at is None:
            self._answer_at = self.audio.end

    def _finish(self, *, interrupted: bool = False) -> bool:
        """The turn is answered, or the caller has spoken into its answer."""
        if self._answer_at is not None:
            self.audio.answered(self._answer_at, interrupted=interrupted)
        elif not interrupted:
            self.audio.answered(self.audio.end)
        self._calls = {call.id: call for call in self._calls.values() if call.response is None}
        self.request = None
        self._reset()
        return True

    def _reset(self) -> None:
        self.user_words = self.said_words = ""
        self.said_s = 0.0
        self.generating = self.generated = False
        self.failures = 0
        self._answer_at = None
        self._over_at = self._clock()

    def _drop_answered_audio(self) -> None:
        if self._answer_at is not None:
            self.audio.answered(self._answer_at)
            self._answer_at = self.audio.end

    def _continuable(self) -> bool:
        """Whether so much was said that saying it again would be odd, and the model can be told what it was."""
        asked = self.user_words or self._calls or not self.audio.pending
        return bool(self.generating and self.said_s >= _CONTINUED_SECONDS and self.said_words and asked)

    def _continuation(self) -> types.LiveClientContent:
        contents = []
        if self._calls:
            if ended := [call for call in self._calls.values() if call.response is not None]:
                contents.append(_results(ended))
        elif self.user_words:
            contents.append(_content("user", self.user_words))
        return _say([*contents, _content("model", self.said_words), _content("user", _CONTINUE)])


def _content(role: str, text: str) -> types.Content:
    return types.Content(role=role, parts=[types.Part(text=text)])


def _texts(request: types.LiveClientContent | None) -> tuple[tuple[str, str], ...]:
    turns = (request.turns or []) if request else []
    return tuple((turn.role or "user", part.text) for turn in turns for part in turn.parts or [] if part.text)


def _results(calls: Iterable[ToolCall]) -> types.Content:
    results = [{"function": call.name, "arguments": call.arguments, "result": call.response} for call in calls]
    return _content("user", _RESULTS.format(results=json.dumps(results, default=str, ensure_ascii=False)))


def _say(turns: list[types.Content]) -> types.LiveClientContent:
    return types.LiveClientContent(turns=turns, turn_complete=True)
