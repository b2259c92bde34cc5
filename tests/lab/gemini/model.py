"""The model's part of a conversation: it answers, calls functions, and stops when it is interrupted."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from websockets.exceptions import ConnectionClosed

from lab.gemini import wire
from lab.gemini.conversation import answer_text
from lab.gemini.turns import Turn
from lab.signals import Frame, Kind, encode, hum

if TYPE_CHECKING:
    from lab.gemini.session import Session

_logger = logging.getLogger(__name__)
CHUNK_S = 0.1
# Google's page on the Live API's tokens: audio counts 25 a second.
TOKENS_PER_SECOND = 25
# google.genai.types.SlidingWindow: half the trigger if not set; the trigger's own default is not documented.
TRIGGER_SHARE = 0.8


@dataclass(frozen=True)
class Prompt:
    """What the model is to answer.

    Attributes:
        question: the user's words; None asks for a greeting.
        turn: the user's turn in the log, if it was spoken.
    """

    question: Frame | None = None
    turn: Turn | None = None


@dataclass
class _Call:
    """A function call that waits for its response."""

    function: wire.Function
    prompt: Prompt
    id: str = field(default_factory=lambda: f"function-call-{secrets.randbits(63)}")
    response: asyncio.Event = field(default_factory=asyncio.Event)


class Model:
    """Generates for one session, one answer at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._generations: list[asyncio.Task[None]] = []  # one runs, later ones wait for it
        self._calls: dict[str, _Call] = {}

    @property
    def generating(self) -> bool:
        """Whether an answer is in progress; it is until the client should have played all of it."""
        return any(not generation.done() for generation in self._generations)

    def answer(self, prompt: Prompt) -> None:
        """Begin an answer, after the one in progress if there is one."""
        self._start(lambda: self._generate(prompt))

    async def interrupt(self) -> None:
        """Stop the answer in progress, and take back the function calls that it waits for."""
        if not await self.stop():
            return
        cancelled = [call.id for call in self._calls.values() if call.function.blocking]
        for call_id in cancelled:
            del self._calls[call_id]
        if cancelled:
            await self._session.send({"toolCallCancellation": {"ids": cancelled}})
        await self._session.send({"serverContent": {"interrupted": True}})
        await self._finish(0.0)

    async def stop(self) -> bool:
        """Stop without a word; returns whether there was something to stop."""
        generating = self.generating
        for generation in self._generations:
            generation.cancel()
        if self._generations:
            await asyncio.wait(self._generations)
        self._generations = []
        return generating

    async def take_response(self, response: wire.Message) -> None:
        """Take a function's response. One that names no open call is passed over.

        Vertex AI may leave the id out; then the name tells.
        """
        call_id, name = wire.get(response, "id"), wire.get(response, "name")
        call = self._calls.get(str(call_id))
        if call_id is None:
            call = next((call for call in self._calls.values() if call.function.name == name), None)
        if call is None:
            return
        del self._calls[call.id]
        if call.function.blocking:
            call.response.set()
            return
        scheduling = wire.get(response, "scheduling") or "WHEN_IDLE"
        if scheduling == "SILENT":
            await self._session.update_resumption(resumable=not self.generating and not self._calls)
            return
        if scheduling == "INTERRUPT":
            await self.interrupt()
        self._start(lambda: self._respond(call.prompt))

    def _start(self, work: Callable[[], Awaitable[None]]) -> None:
        earlier = [generation for generation in self._generations if not generation.done()]

        async def run() -> None:
            if earlier:
                await asyncio.wait(earlier)
            with suppress(ConnectionClosed):
                await work()

        generation = asyncio.create_task(run())
        generation.add_done_callback(_report)
        self._generations = [*earlier, generation]

    async def _generate(self, prompt: Prompt) -> None:
        session = self._session
        await session.update_resumption(resumable=False)
        if prompt.turn:
            await session.suffer("turn")
        if not await self._fit_context():
            return
        question = prompt.question
        if question and question.kind is Kind.ASK_TOOL and session.setup.functions:
            await asyncio.sleep(session.behaviour.latency_s)
            if not await self._call_function(session.setup.functions[0], prompt):
                return
        await self._respond(prompt)

    async def _fit_context(self) -> bool:
        """Compress the context window if it is to be; returns False if the connection ended because it is full."""
        session, conversation = self._session, self._session.conversation
        setup, limit = session.setup, session.behaviour.context_tokens
        if setup.compression:
            trigger = setup.trigger_tokens or round(TRIGGER_SHARE * limit)
            if conversation.tokens > trigger:
                conversation.tokens = setup.target_tokens or trigger // 2
        elif conversation.tokens > limit:
            # LiveKit's plugin: the service closes with 1007 when the context is exhausted.
            await session.close(1007, "Request contains an invalid argument.")
            return False
        return True

    async def _call_function(self, function: wire.Function, prompt: Prompt) -> bool:
        """Call a function; returns whether the answer follows at once, else it does when the response is there."""
        call = _Call(function, prompt)
        self._calls[call.id] = call
        arguments = wire.example_arguments(function.schema)
        await self._session.send(
            {"toolCall": {"functionCalls": [{"id": call.id, "name": function.name, "args": arguments}]}}
        )
        await self._session.suffer("tool_call")
        if not function.blocking:
            await self._finish(0.0)
            return False
        await call.response.wait()
        return True

    async def _respond(self, prompt: Prompt) -> None:
        session, question = self._session, prompt.question
        await asyncio.sleep(session.behaviour.latency_s)
        turns = session.conversation.turns
        if question:
            frame = Frame(Kind.ANSWER, question.call, question.question, turns)
        else:
            frame = Frame(Kind.GREETING, session.conversation.call or 0, 0, turns)
        long = question is not None and question.kind is Kind.ASK_LONG
        await self._speak(frame, session.behaviour.long_answer_s if long else session.behaviour.answer_s, prompt.turn)

    async def _speak(self, frame: Frame, seconds: float, turn: Turn | None) -> None:
        session = self._session
        signal = encode(frame, wire.OUTPUT_RATE)
        rest = max(seconds - signal.size / wire.OUTPUT_RATE, 0.0)
        pcm = np.concatenate([signal, hum(rest, wire.OUTPUT_RATE)])
        if session.setup.output_transcription:
            await session.send({"serverContent": {"outputTranscription": {"text": answer_text(frame)}}})
        chunk = round(CHUNK_S * wire.OUTPUT_RATE)
        started = time.monotonic()
        for at in range(0, pcm.size, chunk):
            await session.send(wire.audio(pcm[at : at + chunk]))
            if turn and turn.answered is None:
                turn.answered = time.time()
            if at < signal.size <= at + chunk:
                session.conversation.answer((frame.call, frame.question))
            if at < pcm.size / 2 <= at + chunk:
                await session.suffer("answer")
            due = started + (at + chunk) / wire.OUTPUT_RATE / session.behaviour.pace
            await asyncio.sleep(max(due - time.monotonic(), 0))
        if turn:
            turn.completed = time.time()
        await session.send({"serverContent": {"generationComplete": True}})
        # google.genai.types.LiveServerContent: turnComplete waits until the client should have played everything.
        played = started + pcm.size / wire.OUTPUT_RATE / session.behaviour.playback_pace
        await asyncio.sleep(max(played - time.monotonic(), 0))
        await self._finish(pcm.size / wire.OUTPUT_RATE)

    async def _finish(self, seconds: float) -> None:
        """End the model's turn, in which it spoke for so long."""
        conversation = self._session.conversation
        spoken = round(seconds * TOKENS_PER_SECOND)
        usage = wire.usage(conversation.tokens, spoken)
        conversation.tokens += spoken
        status = "IN_PROGRESS" if self._calls else "IDLE"
        content = {"turnComplete": True, "interactionStatus": status}
        await self._session.send({"serverContent": content, "usageMetadata": usage})
        await self._session.update_resumption(resumable=not self._calls)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        _logger.error("an answer failed", exc_info=task.exception())
