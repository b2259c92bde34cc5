"""LiveKit's Google plugin without a room: speaks into a session, and hears what the model generates."""

from __future__ import annotations

import asyncio

import numpy as np
from livekit import rtc
from livekit.agents import llm
from livekit.plugins.google.realtime.realtime_api import RealtimeSession
from numpy.typing import NDArray

from lab.signals import Decoder, Frame, encode

RATE = 48_000
# Generous: whatever is awaited comes within a second.
DEADLINE_S = 20.0


class Call:
    """One plugin session: speaks into it and hears what it generates."""

    def __init__(self, session: RealtimeSession) -> None:
        self.session = session
        self.errors: asyncio.Queue[llm.RealtimeModelError] = asyncio.Queue()
        self.speech_started = asyncio.Event()
        self.generations: asyncio.Queue[llm.GenerationCreatedEvent] = asyncio.Queue()
        session.on("generation_created", self.generations.put_nowait)
        session.on("error", self.errors.put_nowait)
        session.on("input_speech_started", lambda _: self.speech_started.set())

    def say(self, frame: Frame) -> None:
        """Speak a frame and then keep quiet, in the pieces of 10 ms that WebRTC brings."""
        self.push(np.concatenate([encode(frame, RATE), np.zeros(RATE, np.int16)]))

    def push(self, pcm: NDArray[np.int16]) -> None:
        """Speak these samples, at 48 kHz."""
        for at in range(0, pcm.size, RATE // 100):
            piece = pcm[at : at + RATE // 100]
            self.session.push_audio(rtc.AudioFrame(piece.tobytes(), RATE, 1, piece.size))

    async def generation(self) -> llm.GenerationCreatedEvent:
        """What the model begins next."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.generations.get()

    async def ask(self, frame: Frame) -> list[Frame]:
        """Ask and hear the answer out."""
        self.say(frame)
        return await frames_of(await self.generation())

    async def ask_and_keep(self, frame: Frame) -> None:
        """Ask, hear the answer out, and wait for the handle that comes after it."""
        before = self.session.session_resumption_handle
        await self.ask(frame)
        async with asyncio.timeout(DEADLINE_S):
            while self.session.session_resumption_handle == before:  # noqa: ASYNC110 - the plugin tells of no change
                await asyncio.sleep(0.01)


async def frames_of(generation: llm.GenerationCreatedEvent) -> list[Frame]:
    """The frames in what the model says in one generation."""
    decoder, heard = Decoder(24_000), []
    async with asyncio.timeout(DEADLINE_S):
        async for message in generation.message_stream:
            async for frame in message.audio_stream:
                heard += decoder.feed(np.frombuffer(frame.data, np.int16))
    return [found.frame for found in heard]
