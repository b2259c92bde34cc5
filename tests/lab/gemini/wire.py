"""BidiGenerateContent's messages: reading the client's, writing the server's.

Names and shapes are those of ``google.genai.types`` (``LiveClientMessage``, ``LiveServerMessage``). The clients send
some keys in snake case and URL-safe base64; both spellings are read.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

INPUT_RATE = 16000
OUTPUT_RATE = 24000

Message = dict[str, Any]


class ProtocolError(Exception):
    """The client sent what the service answers by closing with 1007 (invalid argument)."""


def get(message: Any, name: str, default: Any = None) -> Any:
    """A field by its camel-case name, in either spelling."""
    if not isinstance(message, dict):
        return default
    if name in message:
        return message[name]
    return message.get(re.sub(r"([A-Z])", lambda m: "_" + m.group(1).lower(), name), default)


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


@dataclass
class Setup:
    """The first message of a connection.

    Attributes:
        model: the model's resource name.
        functions: declared functions by name, with their parameter schemas.
        resumption: whether the client wants session resumption updates.
        handle: the handle of the conversation to go on with.
        transparent: whether updates carry the index of the last consumed client message.
        compression: whether the context window is compressed, which lifts the session's length limit.
        input_transcription: whether the user's words are sent back.
        output_transcription: whether the model's words are sent as text too.
        automatic_activity: whether the server finds the turns; else the client sends ``activityStart``/``End``.
        interruptible: whether the user's speech stops an answer.
    """

    model: str
    functions: dict[str, Message] = field(default_factory=dict)
    resumption: bool = False
    handle: str | None = None
    transparent: bool = False
    compression: bool = False
    input_transcription: bool = False
    output_transcription: bool = False
    automatic_activity: bool = True
    interruptible: bool = True


def parse_setup(message: Message) -> Setup:
    """The set-up message.

    Raises:
        ProtocolError: it is no set-up, names no model, or asks for text answers.
    """
    setup = get(message, "setup")
    if not isinstance(setup, dict):
        raise ProtocolError("The first message must be setup.")
    model = get(setup, "model")
    if not model:
        raise ProtocolError("setup.model is required.")
    modalities = get(get(setup, "generationConfig"), "responseModalities") or ["AUDIO"]
    if [str(m).upper() for m in modalities] != ["AUDIO"]:
        raise ProtocolError(f"responseModalities {modalities} is not supported: a native-audio model answers AUDIO.")
    functions: dict[str, Message] = {}
    for tool in get(setup, "tools") or []:
        for declaration in get(tool, "functionDeclarations") or []:
            functions[declaration["name"]] = get(declaration, "parameters") or get(
                declaration, "parametersJsonSchema", {}
            )
    resumption = get(setup, "sessionResumption")
    realtime = get(setup, "realtimeInputConfig")
    return Setup(
        model=str(model),
        functions=functions,
        resumption=resumption is not None,
        handle=get(resumption, "handle"),
        transparent=bool(get(resumption, "transparent")),
        compression=get(setup, "contextWindowCompression") is not None,
        input_transcription=get(setup, "inputAudioTranscription") is not None,
        output_transcription=get(setup, "outputAudioTranscription") is not None,
        automatic_activity=not get(get(realtime, "automaticActivityDetection"), "disabled", False),
        interruptible=get(realtime, "activityHandling") != "NO_INTERRUPTION",
    )


def parse_audio(realtime_input: Message) -> list[tuple[NDArray[np.int16], int]]:
    """PCM and sample rate of each audio blob in a ``realtimeInput``.

    Raises:
        ProtocolError: a blob is not 16-bit PCM.
    """
    blobs = [get(realtime_input, "audio"), *(get(realtime_input, "mediaChunks") or [])]
    heard = []
    for blob in blobs:
        mime = str(get(blob, "mimeType", ""))
        if blob is None or not mime.startswith("audio/"):
            continue
        if not mime.startswith("audio/pcm"):
            raise ProtocolError(f"mimeType {mime} is not supported: send audio/pcm.")
        rate = re.search(r"rate=(\d+)", mime)
        raw = base64.urlsafe_b64decode(str(get(blob, "data", "")).replace("+", "-").replace("/", "_"))
        if len(raw) % 2:
            raise ProtocolError("audio/pcm must hold whole 16-bit samples.")
        heard.append((np.frombuffer(raw, dtype="<i2"), int(rate.group(1)) if rate else INPUT_RATE))
    return heard


def parse_texts(content: Message) -> list[tuple[str, str]]:
    """Role and text of every text part in a ``clientContent``, in order."""
    return [
        (str(get(turn, "role") or "user"), part["text"])
        for turn in get(content, "turns") or []
        for part in get(turn, "parts") or []
        if part.get("text")
    ]


def example_arguments(schema: Message) -> Message:
    """Arguments for a function call that its parameter schema accepts: each property gets a plain value."""
    values: dict[str, Any] = {"INTEGER": 1, "NUMBER": 1.0, "BOOLEAN": True, "ARRAY": [], "OBJECT": {}}
    arguments = {}
    for name, prop in (get(schema, "properties") or {}).items():
        choices = prop.get("enum")
        arguments[name] = choices[0] if choices else values.get(str(prop.get("type", "")).upper(), "example")
    return arguments


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
