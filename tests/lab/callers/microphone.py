"""The caller's microphone: sends silence all the time, as a telephone does, and utterances when asked to."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

RATE = 48_000
CHUNK_SECONDS = 0.040
# Audio handed over ahead of time: what a busy processor may be late by before the caller stutters.
LEAD_SECONDS = 0.3
QUEUE_MS = 600


@dataclass(frozen=True)
class Spoken:
    """When an utterance was played out: first and last sample, wall-clock seconds."""

    start: float
    end: float


class Microphone:
    """A paced audio source."""

    def __init__(self) -> None:
        self.source = rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
        self._size = round(CHUNK_SECONDS * RATE)
        self._chunks: deque[NDArray[np.int16]] = deque()
        self._start: float | None = None
        self._done: asyncio.Future[Spoken] | None = None
        self._task = asyncio.create_task(self._run())

    async def say(self, pcm: NDArray[np.int16]) -> Spoken:
        """Speak, and return once the last sample was played out."""
        padded = np.concatenate([pcm, np.zeros(-pcm.size % self._size, dtype=np.int16)])
        self._chunks.extend(padded.reshape(-1, self._size))
        self._start = None
        self._done = asyncio.get_running_loop().create_future()
        spoken = await self._done
        # The padding is no speech.
        end = spoken.end - (padded.size - pcm.size) / RATE
        await asyncio.sleep(max(0.0, end - time.time()))
        return Spoken(spoken.start, end)

    async def close(self) -> None:
        """Stop sending."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.source.aclose()

    async def _run(self) -> None:
        silence = np.zeros(self._size, dtype=np.int16)
        while True:
            chunk = self._chunks.popleft() if self._chunks else None
            begins = time.time() + self.source.queued_duration
            if chunk is not None and self._start is None:
                self._start = begins
            pcm = silence if chunk is None else chunk
            await self.source.capture_frame(rtc.AudioFrame(pcm.tobytes(), RATE, 1, self._size))
            if chunk is not None and not self._chunks and self._done and self._start is not None:
                self._done.set_result(Spoken(self._start, time.time() + self.source.queued_duration))
                self._done = None
            await asyncio.sleep(max(0.0, self.source.queued_duration - LEAD_SECONDS))
