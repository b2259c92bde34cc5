"""BidiGenerateContent's messages: reading the client's, writing the server's.

Names and shapes are those of ``google.genai.types`` (``LiveClientMessage``, ``LiveServerMessage``). The client sends
some keys in snake case and bytes in URL-safe base64; both spellings of both are read.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUT_RATE = 16000
OUTPUT_RATE = 24000

Message = dict[str, Any]


class ProtocolError(Exception):
    """The client sent what the service answers by closing with 1007 (invalid argument)."""


@cache
def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda match: "_" + match.group(1).lower(), name)


def get(message: Message, name: str) -> Any:
    """A field by its camel-case name, in either spelling; None if it is not there."""
    return message[name] if name in message else message.get(_snake(name))


def child(message: Message, name: str) -> Message | None:
    """A field that holds a message; None if it is not there.

    Raises:
        ProtocolError: it holds something else.
    """
    value = get(message, name)
    if value is not None and not isinstance(value, dict):
        raise ProtocolError(f"Invalid value at '{name}': an object is expected.")
    return value


def children(message: Message, name: str) -> list[Message]:
    """A repeated field of messages; empty if it is not there.

    Raises:
        ProtocolError: it holds something else.
    """
    values = get(message, name)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ProtocolError(f"Invalid value at '{name}': a list of objects is expected.")
    return values


def parse(raw: str | bytes) -> Message:
    """One client message.

    Raises:
        ProtocolError: it is not a JSON object.
    """
    try:
        message = json.loads(raw)
    except ValueError as error:
        raise ProtocolError("Request is not valid JSON.") from error
    if not isinstance(message, dict):
        raise ProtocolError("Request is not a JSON object.")
    return message


@dataclass(frozen=True)
class Function:
    """A function that the model may call.

    Attributes:
        name: its name.
        schema: its parameters' schema.
        blocking: whether the conversation waits for its response.
    """

    name: str
    schema: Message
    blocking: bool = True


@dataclass
class Setup:
    """The first message of a connection.

    Attributes:
        model: the model's resource name.
        functions: what the model may call, in the order of declaration.
        resumption: whether the client wants session resumption updates.
        handle: the handle of the conversation to go on with.
        transparent: whether updates carry the index of the last consumed client message.
        compression: whether the context window is compressed, which lifts the session's limits.
        trigger_tokens: at how many tokens it is compressed; None leaves it to the service.
        target_tokens: to how many tokens; None leaves it to the service.
        input_transcription: whether the user's words are sent back.
        output_transcription: whether the model's words are sent as text too.
        automatic_activity: whether the server finds the turns; else the client sends ``activityStart`` and ``-End``.
        interruptible: whether the user's speech stops an answer.
        silence_s: silence that ends an utterance; None leaves it to the service.
        onset_s: sound that begins an utterance; None leaves it to the service.
    """

    model: str
    functions: list[Function] = field(default_factory=list)
    resumption: bool = False
    handle: str | None = None
    transparent: bool = False
    compression: bool = False
    trigger_tokens: int | None = None
    target_tokens: int | None = None
    input_transcription: bool = False
    output_transcription: bool = False
    automatic_activity: bool = True
    interruptible: bool = True
    silence_s: float | None = None
    onset_s: float | None = None


def parse_setup(message: Message) -> Setup:
    """The set-up message.

    Raises:
        ProtocolError: it is no set-up, names no model, or asks for text answers.
    """
    setup = child(message, "setup")
    if setup is None:
        raise ProtocolError("The first message must be setup.")
    if not get(setup, "model"):
        raise ProtocolError("setup.model is required.")
    modalities = get(child(setup, "generationConfig") or {}, "responseModalities") or ["AUDIO"]
    if [str(modality).upper() for modality in modalities] != ["AUDIO"]:
        raise ProtocolError(f"Response modalities {modalities} are not supported by a native-audio model: use AUDIO.")
    resumption = child(setup, "sessionResumption")
    compression = child(setup, "contextWindowCompression")
    realtime = child(setup, "realtimeInputConfig") or {}
    detection = child(realtime, "automaticActivityDetection") or {}
    return Setup(
        model=str(get(setup, "model")),
        functions=parse_functions(setup),
        resumption=resumption is not None,
        handle=get(resumption or {}, "handle"),
        transparent=bool(get(resumption or {}, "transparent")),
        compression=compression is not None,
        trigger_tokens=_integer(compression or {}, "triggerTokens"),
        target_tokens=_integer(child(compression or {}, "slidingWindow") or {}, "targetTokens"),
        input_transcription=child(setup, "inputAudioTranscription") is not None,
        output_transcription=child(setup, "outputAudioTranscription") is not None,
        automatic_activity=not get(detection, "disabled"),
        interruptible=get(realtime, "activityHandling") != "NO_INTERRUPTION",
        silence_s=_seconds(detection, "silenceDurationMs"),
        onset_s=_seconds(detection, "prefixPaddingMs"),
    )


def parse_functions(holder: Message) -> list[Function]:
    """The functions that a message's ``tools`` declare.

    Raises:
        ProtocolError: one has no name.
    """
    functions = []
    for tool in children(holder, "tools"):
        for declaration in children(tool, "functionDeclarations"):
            if not get(declaration, "name"):
                raise ProtocolError("A function declaration has no name.")
            schema = child(declaration, "parameters") or child(declaration, "parametersJsonSchema") or {}
            functions.append(
                Function(str(get(declaration, "name")), schema, get(declaration, "behavior") != "NON_BLOCKING")
            )
    return functions


def _integer(message: Message, name: str) -> int | None:
    """A 64-bit integer, which JSON may carry as text."""
    value = get(message, name)
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        raise ProtocolError(f"Invalid value at '{name}': an integer is expected.") from None


def _seconds(message: Message, name: str) -> float | None:
    milliseconds = _integer(message, name)
    return None if milliseconds is None else milliseconds / 1000


def parse_audio(realtime_input: Message) -> list[tuple[NDArray[np.int16], int]]:
    """PCM and sample rate of each audio blob in a ``realtimeInput``; images are passed over.

    Raises:
        ProtocolError: a blob is not 16-bit PCM.
    """
    audio = child(realtime_input, "audio")
    heard = []
    for blob in [*([audio] if audio else []), *children(realtime_input, "mediaChunks")]:
        mime = str(get(blob, "mimeType"))
        if not mime.startswith("audio/"):
            continue
        if not mime.startswith("audio/pcm"):
            raise ProtocolError(f"Mime type {mime} is not supported: use audio/pcm.")
        rate = re.search(r"rate=(\d+)", mime)
        try:
            raw = base64.b64decode(str(get(blob, "data") or "").translate(_URL_SAFE), validate=True)
        except binascii.Error as error:
            raise ProtocolError("Invalid value at 'audio.data': base64 is expected.") from error
        if len(raw) % 2:
            raise ProtocolError("audio/pcm must hold whole 16-bit samples.")
        heard.append((np.frombuffer(raw, dtype="<i2"), int(rate.group(1)) if rate else INPUT_RATE))
    return heard


_URL_SAFE = str.maketrans("-_", "+/")


def parse_texts(content: Message) -> list[tuple[str, str]]:
    """Role and text of every text part in a ``clientContent``, in order."""
    return [
        (str(get(turn, "role") or "user"), str(text))
        for turn in children(content, "turns")
        for part in children(turn, "parts")
        if (text := get(part, "text"))
    ]


def example_arguments(schema: Message) -> Message:
    """Arguments for a function call that its parameter schema accepts."""
    return {name: _example(prop) for name, prop in (get(schema, "properties") or {}).items()}


def _example(schema: Message) -> Any:
    if choices := get(schema, "enum"):
        return choices[0]
    kind = get(schema, "type")
    match str(kind[0] if isinstance(kind, list) and kind else kind).upper():
        case "INTEGER":
            return int(get(schema, "minimum") or 1)
        case "NUMBER":
            return float(get(schema, "minimum") or 1)
        case "BOOLEAN":
            return True
        case "ARRAY":
            return [_example(child(schema, "items") or {})]
        case "OBJECT":
            return example_arguments(schema)
        case _:
            return "example"


def audio(pcm: NDArray[np.int16]) -> Message:
    """A piece of the model's answer."""
    data = base64.b64encode(pcm.astype("<i2").tobytes()).decode()
    blob = {"mimeType": f"audio/pcm;rate={OUTPUT_RATE}", "data": data}
    return {"serverContent": {"modelTurn": {"role": "model", "parts": [{"inlineData": blob}]}}}


def usage(prompt_tokens: int, response_tokens: int) -> Message:
    """``usageMetadata`` of a finished turn."""
    return {
        "promptTokenCount": prompt_tokens,
        "responseTokenCount": response_tokens,
        "totalTokenCount": prompt_tokens + response_tokens,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": prompt_tokens}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": response_tokens}],
    }
