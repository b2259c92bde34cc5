"""What tests do with the real client: speak, listen, look at what came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import numpy as np
import pytest
from google.genai import errors, types
from google.genai.live import AsyncSession, ConnectionClosed
from numpy.typing import NDArray

from lab.signals import Decoder, Frame, Kind, encode

MODEL = "gemini-live-test"
DEADLINE_S = 15.0
ASK = Frame(Kind.ASK, call=3, question=5)
LOOKUP = {
    "function_declarations": [
        {"name": "look_up", "parameters": {"type": "OBJECT", "properties": {"topic": {"type": "STRING"}}}}
    ]
}

Connect = Callable[..., AbstractAsyncContextManager[AsyncSession]]
Message = types.LiveServerMessage


async def send(session: AsyncSession, pcm: NDArray[np.int16], rate: int = 16_000) -> None:
    """Send audio in pieces of 50 ms, faster than real time."""
    piece = rate // 20
    for at in range(0, pcm.size, piece):
        blob = types.Blob(data=pcm[at : at + piece].tobytes(), mime_type=f"audio/pcm;rate={rate}")
        await session.send_realtime_input(audio=blob)


async def say(session: AsyncSession, *frames: Frame, silence_s: float = 0.4, rate: int = 16_000) -> None:
    """Speak frames and then keep quiet."""
    quiet = np.zeros(round(silence_s * rate), dtype=np.int16)
    await send(session, np.concatenate([*(encode(frame, rate) for frame in frames), quiet]), rate)


async def messages_until(session: AsyncSession, done: Callable[[Message], Any]) -> list[Message]:
    """Receive until a message satisfies ``done``; returns all of them."""
    received: list[Message] = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async for message in session.receive():
                received.append(message)
                if done(message):
                    return received


async def ask(session: AsyncSession, question: Frame = ASK) -> list[Message]:
    """Ask a question and hear the whole answer out."""
    await say(session, question)
    return await messages_until(session, turn_complete)


async def handle_after(session: AsyncSession, question: Frame = ASK) -> str:
    """Ask a question and return the handle that comes after the answer."""
    await say(session, question)
    return handle_of((await messages_until(session, resumable))[-1])


def turn_complete(message: Message) -> bool:
    """Whether the model's turn is over."""
    return bool(message.server_content and message.server_content.turn_complete)


def interrupted(message: Message) -> bool:
    """Whether the model was interrupted."""
    return bool(message.server_content and message.server_content.interrupted)


def resumable(message: Message) -> bool:
    """Whether the message holds a handle."""
    return bool(message.session_resumption_update and message.session_resumption_update.resumable)


def handle_of(message: Message) -> str:
    """The handle in a message."""
    update = message.session_resumption_update
    if not update or not update.new_handle:
        pytest.fail(f"no handle in {message}")
    return update.new_handle


def audio_of(messages: list[Message]) -> NDArray[np.int16]:
    """All the audio in the messages, 24 kHz mono."""
    return np.frombuffer(b"".join(message.data or b"" for message in messages), dtype=np.int16)


def answers(messages: list[Message]) -> list[Frame]:
    """The frames in the messages' audio."""
    return [heard.frame for heard in Decoder(24_000).feed(np.append(audio_of(messages), np.zeros(4800, np.int16)))]


def function_call(messages: list[Message]) -> types.FunctionCall:
    """The function call that the last message holds."""
    tool_call = messages[-1].tool_call
    if not tool_call or not tool_call.function_calls:
        pytest.fail(f"no function call in {messages[-1]}")
    [call] = tool_call.function_calls
    return call


class Closed:
    """How a connection ended."""

    code: int | None = None


@asynccontextmanager
async def closed_by_server() -> AsyncIterator[Closed]:
    """Expect the connection to be closed inside, and tell by which code."""
    closed = Closed()
    # google-genai raises one at set-up, and either later, by its version.
    with pytest.raises((errors.APIError, ConnectionClosed)) as ended:
        yield closed
    code = getattr(ended.value, "code", None)
    closed.code = code if isinstance(code, int) else getattr(getattr(ended.value, "rcvd", None), "code", None)
