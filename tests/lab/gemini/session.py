"""One connection: the set-up, the user's turns, the model's answers, and the connection's end."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from lab.gemini import wire
from lab.gemini.config import Behaviour
from lab.gemini.conversation import Conversation
from lab.gemini.speech import Ended, Listener, Started
from lab.signals import Frame, Kind, encode, hum

if TYPE_CHECKING:
    from lab.gemini.server import Simulator

CHUNK_S = 0.1
# Google's documentation of the Live API: audio counts 25 tokens a second.
TOKENS_PER_SECOND = 25


class StalledError(Exception):
    """The session says nothing more, as a hung service does."""


class Session:
    """One WebSocket connection and the conversation that it serves."""

    def __init__(self, simulator: Simulator, socket: ServerConnection, behaviour: Behaviour, number: int) -> None:
        self.number = number
        self.behaviour = behaviour
        self.conversation = Conversation()
        self.opened = time.time()
        self.closed: float | None = None
        self.close_code: int | None = None
        self.resumed = False
        self._simulator = simulator
        self._socket = socket
        self._setup = wire.Setup(model="")
        self._listener = Listener(wire.INPUT_RATE, behaviour.endpointing_s)
        self._generation: asyncio.Task[None] | None = None
        self._tool_results: asyncio.Queue[str] = asyncio.Queue()
        self._open_calls: list[str] = []
        self._messages = 0
        self._stalled = False
        self._prompt_tokens = 0

    def describe(self) -> dict[str, Any]:
        """The session as the admin API shows it."""
        return {
            "connection": self.number,
            "conversation": self.conversation.id,
            "call": self.conversation.call,
            "turns": self.conversation.turns,
            "resumed": self.resumed,
            "compression": self._setup.compression,
            "model": self._setup.model,
            "functions": sorted(self._setup.functions),
            "opened": self.opened,
            "closed": self.closed,
            "close_code": self.close_code,
        }

    async def serve(self) -> None:
        """Serve the connection until either side closes it."""
        clock: asyncio.Task[None] | None = None
        try:
            await self._begin()
            clock = asyncio.create_task(self._watch_limits())
            async for raw in self._socket:
                self._messages += 1
                await self._receive(wire.parse(raw))
        except wire.ProtocolError as error:
            await self.close(1007, str(error))
        except StalledError:
            # A hung service still reads: only so does the client's own closing get through.
            with suppress(ConnectionClosed):
                async for _ in self._socket:
                    pass
        except ConnectionClosed:
            pass
        finally:
            for task in (clock, self._generation):
                if task:
                    task.cancel()
                    with suppress(asyncio.CancelledError, ConnectionClosed, StalledError):
                        await task
            self.closed = time.time()
            self.close_code = self._socket.close_code

    async def close(self, code: int, reason: str) -> None:
        """Close the connection as the service would."""
        # A close reason holds 123 bytes.
        await self._socket.close(code, reason[:120])

    async def go_away(self, time_left_s: float) -> None:
        """Announce the connection's end."""
        await self._send({"goAway": {"timeLeft": f"{time_left_s:g}s"}})

    async def _send(self, message: wire.Message) -> None:
        if self._stalled:
            raise StalledError
        await self._socket.send(json.dumps(message).encode())

    async def _begin(self) -> None:
        setup = self._setup = wire.parse_setup(wire.parse(await self._socket.recv()))
        self._listener = Listener(wire.INPUT_RATE, self.behaviour.endpointing_s, setup.automatic_activity)
        refused = any(f.action == "refuse_handle" and setup.handle and self._take(f) for f in self._simulator.faults)
        if setup.handle:
            restored = None if refused else self._simulator.conversations.restore(setup.handle)
            if restored is None:
                await self.close(1008, "BidiGenerateContent session not found")
                raise StalledError
            self.conversation = restored
            self.resumed = True
        await asyncio.sleep(self.behaviour.setup_s)
        await self._fail("setup")
        await self._send({"setupComplete": {}})

    def _take(self, fault: Any) -> bool:
        taken: bool = fault.take(fault.when, self.conversation.call, self.conversation.turns)
        return taken

    async def _fail(self, when: str) -> None:
        for fault in self._simulator.faults:
            if fault.action == "refuse_handle" or fault.when != when or not self._take(fault):
                continue
            match fault.action:
                case "close":
                    await self.close(fault.code, f"simulated fault {fault.code}")
                    raise StalledError
                case "stall":
                    self._stalled = True
                    raise StalledError
                case "slow":
                    await asyncio.sleep(fault.delay_s)
                case "goaway":
                    await self.go_away(fault.delay_s)
                    asyncio.get_running_loop().call_later(fault.delay_s, self._end_connection)

    def _end_connection(self) -> None:
        self._simulator.spawn(self.close(1011, "Connection limit reached"))

    async def _watch_limits(self) -> None:
        """Announce and enforce the connection's limit, and the session's where it is not compressed."""
        limit = self.behaviour.connection_limit_s
        if not self._setup.compression:
            age = time.time() - self.conversation.started
            limit = min(limit, max(self.behaviour.session_limit_s - age, 0.0))
        lead = min(self.behaviour.goaway_lead_s, limit)
        with suppress(ConnectionClosed, StalledError):
            await asyncio.sleep(limit - lead)
            await self.go_away(lead)
            await asyncio.sleep(lead)
            await self.close(1011, "Connection limit reached")

    async def _receive(self, message: wire.Message) -> None:
        if self._stalled:
            return
        if realtime := wire.get(message, "realtimeInput"):
            await self._realtime(realtime)
        elif (content := wire.get(message, "clientContent")) is not None:
            await self._content(content)
        elif response := wire.get(message, "toolResponse"):
            for answer in wire.get(response, "functionResponses") or []:
                self._tool_results.put_nowait(str(answer.get("id")))
        else:
            raise wire.ProtocolError(f"Request contains an invalid argument: {', '.join(message) or 'nothing'}.")

    async def _realtime(self, realtime: wire.Message) -> None:
        if wire.get(realtime, "activityStart") is not None:
            await self._speech(self._listener.start())
        for pcm, rate in wire.parse_audio(realtime):
            if rate != wire.INPUT_RATE:
                raise wire.ProtocolError(f"audio/pcm;rate={rate} is not supported by the simulator: send 16000.")
            self._prompt_tokens += round(pcm.size / rate * TOKENS_PER_SECOND)
            for event in self._listener.feed(pcm):
                await self._speech(event)
        ended = wire.get(realtime, "activityEnd") is not None or wire.get(realtime, "audioStreamEnd")
        if ended and self._listener.speaking:
            await self._speech(self._listener.end())
        if text := wire.get(realtime, "text"):
            self.conversation.read(text)
            await self._answer(Kind.GREETING, None)

    async def _content(self, content: wire.Message) -> None:
        for role, text in wire.parse_texts(content):
            if role == "user":
                self.conversation.read(text)
        if wire.get(content, "turnComplete"):
            await self._answer(Kind.GREETING, None)

    async def _speech(self, event: Started | Ended) -> None:
        if isinstance(event, Started):
            if self._setup.interruptible:
                await self._interrupt()
            return
        self.conversation.hear(event.frame)
        call, question = (
            self.conversation.questions[-1]
            if event.frame is None
            else (
                event.frame.call,
                event.frame.question,
            )
        )
        self._simulator.log_turn(self, call, question)
        await self._fail("turn")
        if self._setup.input_transcription:
            text = f"call {call} question {question}" if event.frame else "(unclear)"
            await self._send({"serverContent": {"inputTranscription": {"text": text}}})
        await self._answer(Kind.ANSWER, event.frame)

    async def _interrupt(self) -> None:
        """Stop the answer in progress, as barge-in does."""
        if self._generation is None or self._generation.done():
            return
        self._generation.cancel()
        with suppress(asyncio.CancelledError):
            await self._generation
        if self._open_calls:
            await self._send({"toolCallCancellation": {"ids": self._open_calls}})
            self._open_calls = []
        await self._send({"serverContent": {"interrupted": True}})
        await self._finish_turn(0.0)

    async def _answer(self, kind: Kind, asked: Frame | None) -> None:
        await self._interrupt()
        self._generation = asyncio.create_task(self._generate(kind, asked))
        self._generation.add_done_callback(self._simulator.report_failure)

    async def _generate(self, kind: Kind, asked: Frame | None) -> None:
        with suppress(ConnectionClosed, StalledError):
            if self._setup.resumption:
                await self._send({"sessionResumptionUpdate": {"resumable": False}})
            await asyncio.sleep(self.behaviour.latency_s)
            if asked and asked.kind is Kind.ASK_TOOL and self._setup.functions:
                await self._call_function()
            call, question = (asked.call, asked.question) if asked else (0, 0)
            answer = Frame(kind, call, question, self.conversation.turns)
            long = asked is not None and asked.kind is Kind.ASK_LONG
            await self._speak(answer, self.behaviour.long_answer_s if long else self.behaviour.answer_s)

    async def _call_function(self) -> None:
        name, schema = next(iter(self._setup.functions.items()))
        call_id = f"function-call-{self._simulator.next_number()}"
        call = {"id": call_id, "name": name, "args": wire.example_arguments(schema)}
        self._open_calls = [call_id]
        await self._send({"toolCall": {"functionCalls": [call]}})
        while await self._tool_results.get() != call_id:
            pass
        self._open_calls = []
        await asyncio.sleep(self.behaviour.latency_s)

    async def _speak(self, frame: Frame, seconds: float) -> None:
        signal = encode(frame, wire.OUTPUT_RATE)
        rest = max(seconds - signal.size / wire.OUTPUT_RATE, 0.0)
        pcm = np.concatenate([signal, hum(rest, wire.OUTPUT_RATE)])
        started = time.monotonic()
        chunk = round(CHUNK_S * wire.OUTPUT_RATE)
        failed = False
        if self._setup.output_transcription:
            text = f"answer to call {frame.call} question {frame.question}, turn {frame.turns}"
            await self._send({"serverContent": {"outputTranscription": {"text": text}}})
        for at in range(0, pcm.size, chunk):
            await self._send(wire.audio(pcm[at : at + chunk]))
            if at >= pcm.size / 2 and not failed:
                failed = True
                await self._fail("answer")
            due = started + (at + chunk) / wire.OUTPUT_RATE / self.behaviour.pace
            await asyncio.sleep(max(due - time.monotonic(), 0))
        await self._send({"serverContent": {"generationComplete": True}})
        # The service holds turnComplete back until the client should have played everything.
        await asyncio.sleep(max(started + pcm.size / wire.OUTPUT_RATE - time.monotonic(), 0))
        await self._finish_turn(pcm.size / wire.OUTPUT_RATE)

    async def _finish_turn(self, seconds: float) -> None:
        tokens = wire.usage(self._prompt_tokens, round(seconds * TOKENS_PER_SECOND))
        self._prompt_tokens = 0
        await self._send({"serverContent": {"turnComplete": True}, "usageMetadata": tokens})
        if self._setup.resumption:
            update: wire.Message = {
                "newHandle": self._simulator.conversations.save(self.conversation, self.behaviour.handle_ttl_s),
                "resumable": True,
            }
            if self._setup.transparent:
                update["lastConsumedClientMessageIndex"] = str(self._messages)
            await self._send({"sessionResumptionUpdate": update})
