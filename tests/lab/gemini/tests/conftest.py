"""The simulator with short clocks, and the unmodified google-genai client in front of it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import numpy as np
import pytest
from google import genai
from google.genai import types
from google.genai.live import AsyncSession

from lab.gemini import Behaviour, Simulator, simulator
from lab.signals import Frame, encode

MODEL = "gemini-live-test"
QUICK = Behaviour(setup_s=0.01, endpointing_s=0.2, latency_s=0.02, answer_s=0.8, long_answer_s=3.0, pace=100.0)
DEADLINE_S = 15.0

Connect = Callable[..., AbstractAsyncContextManager[AsyncSession]]


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with simulator(Behaviour(**vars(QUICK))) as running:
        yield running


@pytest.fixture
def client(sim: Simulator) -> genai.Client:
    trust = ssl.create_default_context(cafile=str(sim.certificate))
    options = types.HttpOptions(base_url=sim.url, api_version="v1beta", async_client_args={"ssl": trust})
    return genai.Client(api_key="test", vertexai=False, http_options=options)


@pytest.fixture
def connect(client: genai.Client) -> Connect:
    def open_session(**config: Any) -> AbstractAsyncContextManager[AsyncSession]:
        config.setdefault("response_modalities", ["AUDIO"])
        config.setdefault("input_audio_transcription", {})
        config.setdefault("output_audio_transcription", {})
        return client.aio.live.connect(model=MODEL, config=types.LiveConnectConfig(**config))

    return open_session


async def say(session: AsyncSession, *frames: Frame, silence_s: float = 0.4) -> None:
    """Speak frames and then keep quiet, in pieces of 50 ms and faster than real time."""
    quiet = np.zeros(round(silence_s * 16000), dtype=np.int16)
    pcm = np.concatenate([*(encode(frame, 16000) for frame in frames), quiet])
    for at in range(0, pcm.size, 800):
        blob = types.Blob(data=pcm[at : at + 800].tobytes(), mime_type="audio/pcm;rate=16000")
        await session.send_realtime_input(audio=blob)


async def messages_until(
    session: AsyncSession, done: Callable[[types.LiveServerMessage], Any]
) -> list[types.LiveServerMessage]:
    """Receive until a message satisfies ``done``; returns all of them."""
    received: list[types.LiveServerMessage] = []
    async with asyncio.timeout(DEADLINE_S):
        while True:
            async for message in session.receive():
                received.append(message)
                if done(message):
                    return received


def audio_of(messages: list[types.LiveServerMessage]) -> np.ndarray[Any, np.dtype[np.int16]]:
    """All the audio in the messages, 24 kHz mono."""
    return np.frombuffer(b"".join(message.data or b"" for message in messages), dtype=np.int16)
