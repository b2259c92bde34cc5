"""What another connection, in this pod or in another, needs to go on where one ended."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

LONGEST_QUIET_SECONDS = 60.0
INTERRUPTED = {"error": "The function was interrupted; whether it took effect is not known."}


@dataclass
class ToolCall:
    """A function that the model called in the turn that is not answered yet.

    Attributes:
        id: the call's id, which livekit-agents' `FunctionCall` and `FunctionCallOutput` carry as `call_id`.
        name: the function's name.
        arguments: its arguments.
        response: what the function gave back, as the Live API's `FunctionResponse.response`; None while it runs.
        connection: the number of the connection that the model called it by; 0 for one of another pod.
    """

    id: str
    name: str
    arguments: dict[str, Any] = field(repr=False)
    response: dict[str, Any] | None = field(default=None, repr=False)
    connection: int = 0


@dataclass(frozen=True)
class ModelCheckpoint:
    """The model's side of a call between two messages. All but the figures is secret: never log it.

    A turn that is not answered is in it once: as audio, or, once the answer has begun, as words.

    Attributes:
        handle: Gemini's resumption handle, good for two hours; None when there is none yet or it was refused: then the
            chat history given to the new session tells the model what was said.
        covered_items: ids of the chat items that the handle stands for; newer ones are told to the model as text.
        pending_audio: what the caller said that is not answered, 16 kHz 16-bit mono PCM, with the silence after it; at
            the least the last 0.3 s.
        recorded_until: when its last sample came, wall-clock seconds.
        quiet_s: how long before that the caller's last sound was, a minute at the most; that may be answered.
        user_words: the caller's turn as far as Gemini has transcribed it.
        said_words: what the model has said of its answer.
        said_s: how many seconds of it came.
        answered_bytes: how much of `pending_audio` was there when the answer, or a function call, came.
        generating: whether the answer had begun and not ended.
        tool_calls: functions that the turn called. The output of one that still runs may be given to the new session
            as a `FunctionCallOutput` in the chat context, with the same `call_id`.
        request: what the agent's code had asked the model for and got no answer to: pairs of role and text.
    """

    handle: str | None = field(default=None, repr=False)
    covered_items: tuple[str, ...] = ()
    pending_audio: bytes = field(default=b"", repr=False)
    recorded_until: float = 0.0
    quiet_s: float = LONGEST_QUIET_SECONDS
    user_words: str = field(default="", repr=False)
    said_words: str = field(default="", repr=False)
    said_s: float = 0.0
    answered_bytes: int = 0
    generating: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    request: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def interrupted(self) -> ModelCheckpoint:
        """The same for another process: functions that ran in this one end with it, and the model is told so."""
        calls = tuple(
            call if call.response is not None else replace(call, response=INTERRUPTED) for call in self.tool_calls
        )
        return replace(self, tool_calls=calls)


@dataclass(frozen=True)
class Progress:
    """How far a turn is; when it changes, another checkpoint is worth keeping.

    Attributes:
        handle: Gemini's resumption handle.
        speaking: the caller is in the middle of an utterance.
        owed: something waits for an answer, or for the rest of one.
        said: grows with the answer: 0 until so much has come that it would be continued, then once a second.
        tool_calls: of each function that the turn called, whether its result is there.
    """

    handle: str | None = field(repr=False)
    speaking: bool
    owed: bool
    said: int
    tool_calls: tuple[bool, ...]


@dataclass(frozen=True)
class Gap:
    """The model could not be heard for a while; it can again.

    Attributes:
        reason: what ended the connection, as the metric `voice_agent_gemini_reconnects_total` names it.
        seconds: from the end of the connection to the next one's set-up.
        turn_lost: the caller's turn was given up: nothing will answer it.
    """

    reason: str
    seconds: float
    turn_lost: bool
