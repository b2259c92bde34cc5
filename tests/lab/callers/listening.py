"""Listens to one remote audio track: when it sounds, and which frames it carries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
from livekit import rtc
from numpy.typing import NDArray

from lab import signals
from lab.callers.events import Event, Heard, Sound

RATE = 16_000
CHUNK_MS = 100
# Codec noise lies near 0.001 of full scale, the softest answer (the hum) near 0.07.
SOUND_LEVEL = 0.01
WINDOW_SECONDS = 0.020
# Sound that pauses for less than this goes on.
HANGOVER_SECONDS = 0.250


class StreamClock:
    """Wall-clock times of a stream's samples.

    Chunks arrive late by as much as the event loop was busy, never early, so the earliest arrival tells the truth; it
    is followed upwards slowly, for drift, and at once when the stream itself paused.
    """

    _DRIFT = 0.001
    _PAUSE_SECONDS = 1.0

    def __init__(self) -> None:
        self._offset: float | None = None
        self._seconds = 0.0

    def start_of(self, seconds: float, arrival: float) -> float:
        """Wall-clock time of the first sample of a chunk of so many seconds that arrived now."""
        begin = self._seconds
        self._seconds += seconds
        offset = arrival - self._seconds
        if self._offset is None or offset < self._offset or offset > self._offset + self._PAUSE_SECONDS:
            self._offset = offset
        else:
            self._offset += min(self._DRIFT * seconds, offset - self._offset)
        return self._offset + begin

    def at(self, seconds: float) -> float:
        """Wall-clock time of the sample that lies so many seconds after the stream's first."""
        return (self._offset or 0.0) + seconds


class SoundFinder:
    """Stretches in which a stream's energy is above codec noise."""

    def __init__(self, rate: int) -> None:
        self._window = round(WINDOW_SECONDS * rate)
        self._rest: NDArray[np.int16] = np.zeros(0, dtype=np.int16)
        self._start: float | None = None
        self._end = 0.0

    @property
    def sounding(self) -> bool:
        """Whether the stream sounds now, short pauses included."""
        return self._start is not None

    def feed(self, pcm: NDArray[np.int16], start: float) -> list[tuple[float, float]]:
        """Take a chunk whose first sample is at ``start``; returns the sounds that ended (start, end)."""
        start -= self._rest.size / (self._window / WINDOW_SECONDS)
        samples = np.concatenate([self._rest, pcm])
        count = samples.size // self._window
        windows = samples[: count * self._window].reshape(count, self._window)
        self._rest = samples[count * self._window :]
        done: list[tuple[float, float]] = []
        for index, window in enumerate(windows):
            at = start + index * WINDOW_SECONDS
            if signals.level(window) > SOUND_LEVEL:
                if self._start is None:
                    self._start = at
                self._end = at + WINDOW_SECONDS
            elif self._start is not None and at - self._end >= HANGOVER_SECONDS:
                done += self.flush()
        return done

    def flush(self) -> list[tuple[float, float]]:
        """End the sound that goes on, if any."""
        if self._start is None:
            return []
        sound = (self._start, self._end)
        self._start = None
        return [sound]


class Listener:
    """One track's ear: emits Heard and Sound events until it is closed.

    Close it on ``track_unsubscribed``: the server gives a departed agent's transceiver to the next agent, and a stream
    left open would hear that one a second time.

    Attributes:
        agent: the identity of the participant who speaks on the track.
    """

    def __init__(self, track: rtc.RemoteTrack, agent: str, emit: Callable[[Event], None]) -> None:
        self.agent = agent
        self._track = track.sid
        self._emit = emit
        self._stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=CHUNK_MS)
        self._decoder = signals.Decoder(RATE)
        self._finder = SoundFinder(RATE)
        self._clock = StreamClock()
        self._task = asyncio.create_task(self._run())

    @property
    def sounding(self) -> bool:
        """Whether the agent is audible now."""
        return self._finder.sounding

    async def close(self) -> None:
        """Stop listening; a sound that goes on ends here."""
        await self._stream.aclose()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._emit_sounds(self._finder.flush())

    async def _run(self) -> None:
        async for event in self._stream:
            pcm = np.frombuffer(event.frame.data, dtype=np.int16)
            start = self._clock.start_of(pcm.size / RATE, time.time())
            self._emit_sounds(self._finder.feed(pcm, start))
            for heard in self._decoder.feed(pcm):
                frame = heard.frame
                self._emit(
                    Heard(
                        self._clock.at(heard.start_s),
                        self._clock.at(heard.end_s),
                        self.agent,
                        int(frame.kind),
                        frame.call,
                        frame.question,
                        frame.turns,
                    )
                )

    def _emit_sounds(self, sounds: list[tuple[float, float]]) -> None:
        for start, end in sounds:
            self._emit(Sound(start, end, self.agent, self._track))
