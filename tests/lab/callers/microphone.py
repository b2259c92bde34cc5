"""The caller's microphone: sends silence all the time, as a telephone does, and utterances when asked to."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

RATE = 48_000
CHUNK_SECONDS = 0.100
# Audio handed over ahead of time: what a busy processor may be late by before the silence stutters.
LEAD_SECONDS = 0.2
# Room for the lead and a whole utterance: once handed over, it plays out however busy this process is.
QUEUE_MS = 10_000


@dataclass(frozen=True)
class Spoken:
    """When an utterance was played out: first and last sample, wall-clock seconds."""

    start: float
    end: float


class Microphone:
    """A paced audio source."""

    def __init__(self) -> None:
        self.source = rtc.AudioSource(RATE, 1, queue_size_ms=QUEUE_MS)
        self._utterance: NDArray[np.int16] | None = None
        self._spoken: asyncio.Future[Spoken] | None = None
        self._task = asyncio.create_task(self._run())

    async def say(self, pcm: NDArray[np.int16]) -> Spoken:
        """Speak, and return once the last sample was played out; at most ten seconds of audio."""
        self._spoken = asyncio.get_running_loop().create_future()
        self._utterance = pcm
        spoken = await self._spoken
        await asyncio.sleep(max(0.0, spoken.end - time.time()))
        return spoken

    async def close(self) -> None:
        """Stop sending."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.source.aclose()

    async def _run(self) -> None:
        silence = np.zeros(round(CHUNK_SECONDS * RATE), dtype=np.int16)
        while True:
            pcm, spoken = silence, None
            if self._utterance is not None:
                pcm, spoken = self._utterance, self._spoken
                self._utterance = None
            start = time.time() + self.source.queued_duration
            await self.source.capture_frame(rtc.AudioFrame(pcm.tobytes(), RATE, 1, pcm.size))
            if spoken is not None:
                spoken.set_result(Spoken(start, start + pcm.size / RATE))
            await asyncio.sleep(max(0.0, self.source.queued_duration - LEAD_SECONDS))
