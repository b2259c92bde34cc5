"""Frames of tones: what callers and the simulated Gemini say, so that either can prove by listening what it heard.

A frame is a preamble of three tones and nine nibbles: kind, call (2), question (2), turns (2), CRC-8 (2). Each nibble
is sent as a step from the tone before, on a ring of 17 tones, so that two neighbouring tones always differ and a
decoder need not count time: a jitter buffer that stretches, cuts or interrupts the audio does not harm the frame.
The tones lie between 600 and 3400 Hz, where Opus and every resampler keep them, and far enough apart for a window of
30 ms to tell them from one another at any sample rate.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

SYMBOL_SECONDS = 0.060
HOP_SECONDS = 0.010
WINDOW_SECONDS = 0.030
RING = 17
# The ring's tones, then the two of the preamble.
TONES_HZ = np.array([*(800 + 150 * k for k in range(RING)), 640, 3360], dtype=np.float64)
PREAMBLE = (17, 18, 17)
NIBBLES = 9
SYMBOLS = len(PREAMBLE) + NIBBLES
# A tone counts when so many windows in a row, or with interruptions, are clearly its own.
MIN_WINDOWS = 2
# After so long without a clear tone (2.5 s), what comes next belongs to another frame; a machine that starved has
# paused for 1.9 s in the middle of one.
MAX_GAP_HOPS = 250
# The share of a window's energy that its strongest tone must hold. Two frames at once at like levels stay below it.
PURITY = 0.6
AMPLITUDE = 0.4
# The call that an answer names when the words were not understood; calls count from 1.
UNCLEAR_CALL = 0
# Below this root mean square (of full scale 1.0) a window is silence: codec noise lies near 0.001.
SILENCE = 0.004

_CRC_POLYNOMIAL = 0x07


class Kind(IntEnum):
    """What a frame is: three sorts of question, and what an agent says."""

    ASK = 1
    ASK_TOOL = 2
    ASK_LONG = 3
    ANSWER = 8
    GREETING = 9


@dataclass(frozen=True)
class Frame:
    """One frame's content.

    Attributes:
        kind: what it is.
        call: the call's number, 0-255.
        question: the question's number within the call, 0-255.
        turns: in answers, how many user turns the conversation remembers, this one included; 0-255.
    """

    kind: Kind
    call: int
    question: int
    turns: int = 0

    def __post_init__(self) -> None:
        for name in ("call", "question", "turns"):
            value = getattr(self, name)
            if not 0 <= value <= 255:
                raise ValueError(f"Frame.{name} is {value}: a frame carries 0 to 255")


@dataclass(frozen=True)
class Heard:
    """A frame found in live audio; times are seconds since the first sample that the decoder was fed."""

    frame: Frame
    start_s: float
    end_s: float


def _crc8(values: Iterable[int]) -> int:
    crc = 0
    for value in values:
        crc ^= value
        for _ in range(8):
            crc = ((crc << 1) ^ _CRC_POLYNOMIAL) & 0xFF if crc & 0x80 else crc << 1
    return crc


def _symbols(frame: Frame) -> list[int]:
    fields = (int(frame.kind), frame.call, frame.question, frame.turns)
    crc = _crc8(fields)
    nibbles = [fields[0], *(nibble for value in (*fields[1:], crc) for nibble in (value >> 4, value & 15))]
    symbols = list(PREAMBLE)
    tone = 0
    for nibble in nibbles:
        tone = (tone + 1 + nibble) % RING
        symbols.append(tone)
    return symbols


def _frame_of(symbols: tuple[int, ...]) -> Frame | None:
    """The frame that twelve tones spell, if they do."""
    if symbols[: len(PREAMBLE)] != PREAMBLE or max(symbols[len(PREAMBLE) :]) >= RING:
        return None
    ring = (0, *symbols[len(PREAMBLE) :])
    kind, *rest = ((after - before - 1) % RING for before, after in itertools.pairwise(ring))
    # A step of 16 on the ring would be the same tone again, which no frame holds.
    if any(nibble > 15 for nibble in (kind, *rest)):
        return None
    call, question, turns, crc = (rest[i] << 4 | rest[i + 1] for i in range(0, 8, 2))
    if kind not in list(Kind) or crc != _crc8((kind, call, question, turns)):
        return None
    return Frame(Kind(kind), call, question, turns)


def frame_seconds() -> float:
    """How long every frame is, in seconds."""
    return SYMBOLS * SYMBOL_SECONDS


def encode(frame: Frame, rate: int) -> NDArray[np.int16]:
    """The frame as mono PCM at ``rate`` samples a second; the phase is continuous, so nothing clicks."""
    samples = round(SYMBOL_SECONDS * rate)
    frequency = np.repeat(TONES_HZ[_symbols(frame)], samples)
    phase = 2 * np.pi * np.cumsum(frequency) / rate
    return (AMPLITUDE * 32767 * np.sin(phase)).astype(np.int16)


def hum(seconds: float, rate: int, frequency: float = 220.0) -> NDArray[np.int16]:
    """A soft tone below the frames' band: speech that carries no frame."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.1 * 32767 * np.sin(2 * np.pi * frequency * time)).astype(np.int16)


def level(pcm: NDArray[np.int16]) -> float:
    """Root mean square of mono PCM, as a share of full scale."""
    return float(np.sqrt(np.mean(np.square(pcm.astype(np.float32) / 32768)))) if pcm.size else 0.0


@cache
def _basis(rate: int) -> NDArray[np.complex64]:
    count = round(WINDOW_SECONDS * rate)
    time = np.arange(count) / rate
    taper = np.hanning(count)
    waves = np.exp(-2j * np.pi * np.outer(time, TONES_HZ)) * taper[:, None]
    # Scaled so that a pure tone's squared magnitude equals its window's mean square.
    basis: NDArray[np.complex64] = (waves * np.sqrt(2.0) / taper.sum()).astype(np.complex64)
    return basis


@dataclass
class _Tone:
    """One tone's stay: its number, its first and last hop, and in how many windows it was clear."""

    number: int
    first: int
    last: int
    windows: int = 1


class Decoder:
    """Finds frames in a stream of mono PCM, at any sample offset, fed in chunks of any size."""

    def __init__(self, rate: int) -> None:
        self._hop = round(HOP_SECONDS * rate)
        self._window = round(WINDOW_SECONDS * rate)
        self._basis = _basis(rate)
        self._samples: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._hops = 0
        self._tones: deque[_Tone] = deque(maxlen=SYMBOLS)
        self._next: _Tone | None = None  # heard in one window only so far

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and not ended, so far as its tones can still go on."""
        numbers = [tone.number for tone in self._tones]
        return any(tuple(numbers[at : at + len(PREAMBLE)]) == PREAMBLE for at in range(len(numbers)))

    def feed(self, pcm: NDArray[np.int16]) -> list[Heard]:
        """Take the next samples and return the frames that they complete."""
        self._samples = np.concatenate([self._samples, pcm.astype(np.float32) / 32768])
        hops = (self._samples.size - self._window) // self._hop + 1
        if hops <= 0:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, self._window)[:: self._hop][:hops]
        found = [heard for number in self._classify(windows) if (heard := self._take(number))]
        self._samples = self._samples[hops * self._hop :]
        return found

    def _classify(self, windows: NDArray[np.float32]) -> list[int]:
        """The tone that fills each window, or -1."""
        energy = np.mean(np.square(windows), axis=1)
        tones = np.full(len(windows), -1)
        loud = energy > SILENCE**2
        if loud.any():
            power = np.abs(windows[loud] @ self._basis) ** 2
            tones[loud] = np.where(power.max(axis=1) / energy[loud] >= PURITY, power.argmax(axis=1), -1)
        numbers: list[int] = tones.tolist()
        return numbers

    def _take(self, number: int) -> Heard | None:
        """Note the next window's tone; returns the frame that it completes."""
        hop, self._hops = self._hops, self._hops + 1
        if self._tones and hop - self._tones[-1].last > MAX_GAP_HOPS:
            self._tones.clear()
        if number < 0:
            return None
        if self._tones and self._tones[-1].number == number:
            self._tones[-1].last = hop
            self._tones[-1].windows += 1
            self._next = None
            return None
        if self._next is None or self._next.number != number:
            self._next = _Tone(number, hop, hop)
            return None
        self._next.last = hop
        self._next.windows += 1
        if self._next.windows < MIN_WINDOWS:
            return None
        self._tones.append(self._next)
        self._next = None
        return self._match()

    def _match(self) -> Heard | None:
        if len(self._tones) < SYMBOLS:
            return None
        frame = _frame_of(tuple(tone.number for tone in self._tones))
        if frame is None:
            return None
        # A tone fills windows that reach half a window over its edges at the most.
        start = (self._tones[0].first * HOP_SECONDS) + WINDOW_SECONDS / 2 - HOP_SECONDS
        end = max(start + frame_seconds(), self._hops * HOP_SECONDS)
        self._tones.clear()
        return Heard(frame, start, end)
