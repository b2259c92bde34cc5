"""One connection: its set-up, the client's messages, its limits and its end."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from lab.gemini import wire
from lab.gemini.config import Behaviour
from lab.gemini.conversation import Conversation, question_text
from lab.gemini.faults import Fault, Moment
from lab.gemini.model import TOKENS_PER_SECOND, Model, Prompt
from lab.gemini.speech import ONSET_S, Ended, Listener, Started
from lab.gemini.turns import Turn
from lab.signals import UNCLEAR_CALL, Frame, Kind

if TYPE_CHECKING:
    from lab.gemini.server import Simulator

# English text: some four letters a token.
_LETTERS_PER_TOKEN = 4
# A close frame holds 125 bytes, two of which are the code.
_LONGEST_REASON = 123
# A caller's question takes some 0.7 s.
_MIDDLE_OF_UTTERANCE_S = 0.35


@dataclass
class Record:
    """What is known of a connection, also after its end; times are wall-clock seconds.

    Attributes:
        connection: its number, from 1.
        conversation: the conversation that it serves.
        call: that conversation's call, once known.
        turns: the user turns that it remembers.
        resumed: whether a handle brought it back.
        compression: whether its context window is compressed.
        model: the model's resource name.
        functions: the names of the functions that the client declared.
        opened: when the client connected.
        ready: when it was set up.
        closed: when it ended.
        close_code: by which code, 1006 if by none.
        closed_by_client: whether the client closed it; google-genai does so with 1011 when it is cancelled.
    """

    connection: int
    conversation: str = ""
    call: int | None = None
    turns: int = 0
    resumed: bool = False
    compression: bool = False
    model: str = ""
    functions: list[str] = field(default_factory=list)
    opened: float = field(default_factory=time.time)
    ready: float | None = None
    closed: float | None = None
    close_code: int | None = None
    closed_by_client: bool = False


class Session:
    """One WebSocket connection and the conversation that it serves.

    Attributes:
        record: what the admin API tells of it.
        behaviour: its clocks and limits.
        setup: what the client asked for.
        conversation: what it is about.
    """

    def __init__(self, simulator: Simulator, socket: ServerConnection, behaviour: Behaviour, number: int) -> None:
        self.record = Record(number)
        self.behaviour = behaviour
        self.setup = wire.Setup(model="")
        self.conversation = Conversation()
        self._simulator = simulator
        self._socket = socket
        self._model = Model(self)
        self._listener = Listener(wire.INPUT_RATE)
        self._clock: asyncio.Task[None] | None = None
        self._opened = time.monotonic()
        self._consumed = 0
        self._stalled = False
        self._middle_passed = False

    async def serve(self) -> None:
        """Serve the connection until either side closes it."""
        try:
            await self._begin()
            self._watch_limits()
            async for raw in self._socket:
                self._consumed += 1
                # A hung service still reads: only so does the client's own closing get through.
                if not self._stalled:
                    await self._receive(wire.parse(raw))
        except wire.ProtocolError as error:
            await self.close(1007, str(error))
        except ConnectionClosed:
            pass
        finally:
            if self._clock:
                self._clock.cancel()
            await self._model.stop()
            self.record.closed = time.time()
            self.record.close_code = self._socket.close_code
            self.record.closed_by_client = bool(self._socket.protocol.close_rcvd_then_sent)

    async def send(self, message: wire.Message) -> None:
        """Send a message; a stalled session never gets to it.

        Raises:
            ConnectionClosed: the connection is over.
        """
        if self._stalled:
            await self._socket.wait_closed()
        await self._socket.send(json.dumps(message).encode())

    async def close(self, code: int, reason: str) -> None:
        """Close the connection as the service would."""
        await self._socket.close(code, reason[:_LONGEST_REASON])

    async def suffer(self, moment: Moment) -> None:
        """Go through the faults that are due at this moment."""
        for fault in list(self._simulator.faults):
            if fault.action != "refuse_handle" and self._takes(fault, moment):
                await self.inflict(fault)

    async def inflict(self, fault: Fault) -> None:
        """Go through one fault."""
        match fault.action:
            case "close":
                await self.close(fault.code, f"simulated fault {fault.code}")
            case "drop":
                self._socket.transport.abort()
                await self._socket.wait_closed()
            case "stall":
                self._stalled = True
            case "slow":
                await asyncio.sleep(fault.delay_s)
            case "goaway":
                self._limit(fault.delay_s, fault.delay_s, fault.code)

    async def suffer_now(self, fault: Fault) -> None:
        """Go through a fault that is to be done at once, if it is for this session."""
        if self._takes(fault, "now"):
            await self.inflict(fault)

    def _takes(self, fault: Fault, moment: Moment) -> bool:
        conversation = self.conversation
        return fault.take(moment, connection=self.record.connection, call=conversation.call, turn=conversation.turns)

    def change(self, values: dict[str, Any]) -> None:
        """Change the behaviour of the session while it goes on.

        Raises:
            ValueError: as ``Behaviour.update``.
        """
        self.behaviour.update(values)
        self._watch_limits()

    async def update_resumption(self, *, resumable: bool) -> None:
        """Tell the client whether the conversation can be resumed as it is now, and by which handle."""
        self._note()
        if not self.setup.resumption:
            return
        update: wire.Message = {"resumable": resumable}
        if resumable:
            update["newHandle"] = self._simulator.conversations.save(self.conversation, self.behaviour.handle_ttl_s)
            if self.setup.transparent:
                update["lastConsumedClientMessageIndex"] = str(self._consumed)
        await self.send({"sessionResumptionUpdate": update})

    def _note(self) -> None:
        record, conversation = self.record, self.conversation
        record.conversation, record.call, record.turns = conversation.id, conversation.call, conversation.turns
        self._simulator.note_change()

    async def _begin(self) -> None:
        setup = self.setup = wire.parse_setup(wire.parse(await self._socket.recv()))
        self._listener = Listener(wire.INPUT_RATE, automatic=setup.automatic_activity)
        record = self.record
        record.model, record.compression = setup.model, setup.compression
        record.functions = [function.name for function in setup.functions]
        if setup.handle:
            restored = self._simulator.conversations.restore(setup.handle)
            served = restored is not None and self._simulator.serves(restored)
            self.conversation = restored or self.conversation
            if restored is None or self._refuses() or (self.behaviour.exclusive_handles and served):
                await self.close(self.behaviour.refused_handle_code, "BidiGenerateContent session not found")
            else:
                record.resumed = True
        self._note()
        await asyncio.sleep(self.behaviour.setup_s)
        await self.suffer("setup")
        await self.send({"setupComplete": {"sessionId": f"{self.conversation.id}-{record.connection}"}})
        record.ready = time.time()
        self._simulator.note_change()

    def _refuses(self) -> bool:
        return any(fault.action == "refuse_handle" and self._takes(fault, "setup") for fault in self._simulator.faults)

    def _watch_limits(self) -> None:
        """Announce and enforce the connection's limit, and the conversation's where it is not compressed."""
        now = time.monotonic()
        left = self.behaviour.connection_limit_s - (now - self._opened)
        if not self.setup.compression:
            left = min(left, self.behaviour.session_limit_s - (now - self.conversation.started))
        self._limit(max(left, 0.0), self.behaviour.goaway_lead_s, self.behaviour.limit_code)

    def _limit(self, seconds: float, lead: float, code: int) -> None:
        async def end() -> None:
            announced = min(lead, seconds)
            with suppress(ConnectionClosed):
                await asyncio.sleep(seconds - announced)
                await self.send({"goAway": {"timeLeft": f"{announced:g}s"}})
                await asyncio.sleep(announced)
                await self.close(code, "Deadline expired before operation could complete.")

        if self._clock:
            self._clock.cancel()
        self._clock = asyncio.create_task(end())

    async def _receive(self, message: wire.Message) -> None:
        if (realtime := wire.child(message, "realtimeInput")) is not None:
            await self._take_realtime(realtime)
        elif (content := wire.child(message, "clientContent")) is not None:
            await self._take_content(content)
        elif (response := wire.child(message, "toolResponse")) is not None:
            for answer in wire.children(response, "functionResponses"):
                await self._model.take_response(answer)
        elif (update := wire.child(message, "contextUpdate")) is not None:
            if (tools := wire.child(update, "tools")) is not None:
                self.setup.functions = wire.parse_functions(tools)
        else:
            raise wire.ProtocolError(f"Unknown message: {', '.join(message) or 'empty'}.")

    async def _take_realtime(self, realtime: wire.Message) -> None:
        starts, ends = (wire.child(realtime, name) is not None for name in ("activityStart", "activityEnd"))
        if (starts or ends) and self.setup.automatic_activity:
            raise wire.ProtocolError("activityStart and activityEnd need automaticActivityDetection.disabled.")
        if starts:
            await self._take_speech(self._listener.start())
        for pcm, rate in wire.parse_audio(realtime):
            for event in self._listener_at(rate).feed(pcm):
                await self._take_speech(event)
            if not self._middle_passed and self._listener.spoken_s >= _MIDDLE_OF_UTTERANCE_S:
                self._middle_passed = True
                await self.suffer("utterance")
        if (ends or wire.get(realtime, "audioStreamEnd")) and self._listener.speaking:
            await self._take_speech(self._listener.end())
        if text := wire.get(realtime, "text"):
            if self.setup.interruptible:
                await self._model.interrupt()
            self._read("user", str(text))
            self._model.answer(self._asked())

    def _listener_at(self, rate: int) -> Listener:
        """The ear for audio of this rate, with the settings of now."""
        setup, listener = self.setup, self._listener
        if listener.rate != rate:
            speaking = listener.speaking
            self._listener = listener = Listener(rate, automatic=setup.automatic_activity)
            listener.speaking = speaking
        listener.endpointing_s = self.behaviour.endpointing_s if setup.silence_s is None else setup.silence_s
        listener.onset_s = ONSET_S if setup.onset_s is None else setup.onset_s
        return listener

    async def _take_content(self, content: wire.Message) -> None:
        # google.genai.types.LiveClientContent: a message here interrupts any current generation.
        await self._model.interrupt()
        for role, text in wire.parse_texts(content):
            self._read(role, text)
        if wire.get(content, "turnComplete"):
            self._model.answer(self._asked())

    def _read(self, role: str, text: str) -> None:
        self.conversation.read(role, text)
        self.conversation.tokens += len(text) // _LETTERS_PER_TOKEN
        self._note()

    def _asked(self) -> Prompt:
        """What a request by text is to be answered with: the open question, if there is one."""
        question = self.conversation.open_question
        return Prompt(Frame(Kind.ASK, *question) if question else None)

    async def _take_speech(self, event: Started | Ended) -> None:
        if isinstance(event, Started):
            self._middle_passed = False
            if self.setup.interruptible:
                await self._model.interrupt()
            return
        frame, conversation = event.frame, self.conversation
        question = (frame.call, frame.question) if frame else None
        conversation.hear(question)
        conversation.tokens += round(event.seconds * TOKENS_PER_SECOND)
        turn = Turn(
            time=time.time(),
            connection=self.record.connection,
            conversation=conversation.id,
            call=question[0] if question else None,
            question=question[1] if question else None,
            kind=frame.kind.name if frame else "UNCLEAR",
            turns=conversation.turns,
        )
        self._simulator.turns.append(turn)
        self._note()
        if self.setup.input_transcription:
            text = question_text(*question) if question else "(unclear)"
            await self.send({"serverContent": {"inputTranscription": {"text": text}}})
        self._model.answer(Prompt(frame or Frame(Kind.ASK, UNCLEAR_CALL, 0), turn))
