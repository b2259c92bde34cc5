"""Frames of tones: what callers and the simulated Gemini say, so that either can prove by listening what it heard.

A frame is a preamble and nine nibbles, each one tone of 60 ms: kind, call (2), question (2), turns (2), CRC-8 (2).
The tones lie between 600 and 3400 Hz, where Opus and every resampler keep them, and far enough apart for a window of
40 ms to tell them from one another at any sample rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

SYMBOL_SECONDS = 0.060
HOP_SECONDS = 0.010
WINDOW_SECONDS = 0.040
# Data tones 0-15, then the two tones of the preamble.
TONES_HZ = np.array([*(800 + 150 * k for k in range(16)), 640, 3260], dtype=np.float64)
PREAMBLE = (16, 17, 16)
NIBBLES = 9
SYMBOLS = len(PREAMBLE) + NIBBLES
HOPS_PER_SYMBOL = round(SYMBOL_SECONDS / HOP_SECONDS)
# The share of a window's energy that its strongest tone must hold. Two frames at once at like levels stay below it.
PURITY = 0.6
AMPLITUDE = 0.4
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
    pairs = [nibble for value in (*fields[1:], crc) for nibble in (value >> 4, value & 15)]
    return [*PREAMBLE, fields[0], *pairs]


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


class Decoder:
    """Finds frames in a stream of mono PCM, at any sample offset, fed in chunks of any size."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._hop = round(HOP_SECONDS * rate)
        self._window = round(WINDOW_SECONDS * rate)
        self._basis = _basis(rate)
        self._samples: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        self._symbols: list[int] = []
        self._purity: list[float] = []
        self._base = 0  # the hop number of the first symbol kept

    def feed(self, pcm: NDArray[np.int16]) -> list[Heard]:
        """Take the next samples and return the frames that they complete."""
        self._samples = np.concatenate([self._samples, pcm.astype(np.float32) / 32768])
        hops = (self._samples.size - self._window) // self._hop + 1
        if hops <= 0:
            return []
        windows = np.lib.stride_tricks.sliding_window_view(self._samples, self._window)[:: self._hop][:hops]
        self._analyse(windows)
        self._samples = self._samples[hops * self._hop :]
        return self._search()

    def _analyse(self, windows: NDArray[np.float32]) -> None:
        energy = np.mean(np.square(windows), axis=1)
        loud = energy > SILENCE**2
        symbols = np.full(len(windows), -1)
        purity = np.zeros(len(windows))
        if loud.any():
            power = np.abs(windows[loud] @ self._basis) ** 2
            symbols[loud] = power.argmax(axis=1)
            purity[loud] = power.max(axis=1) / energy[loud]
        symbols[purity < PURITY] = -1
        self._symbols.extend(symbols.tolist())
        self._purity.extend(purity.tolist())

    def _search(self) -> list[Heard]:
        found: list[Heard] = []
        # Three hops of look-ahead: the best aligned of neighbouring matches tells when the frame began.
        span = (SYMBOLS - 1) * HOPS_PER_SYMBOL + 1
        at = 0
        while at + span + 3 <= len(self._symbols):
            frame = self._frame_at(at)
            if frame is None:
                at += 1
                continue
            best = max(
                (at + shift for shift in range(4) if self._frame_at(at + shift) == frame),
                key=self._mean_purity,
            )
            # The best window lies in the middle of its symbol.
            start = (self._base + best) * HOP_SECONDS - (SYMBOL_SECONDS - WINDOW_SECONDS) / 2
            found.append(Heard(frame, start, start + frame_seconds()))
            at = best + SYMBOLS * HOPS_PER_SYMBOL - 2
        at = min(at, len(self._symbols))
        del self._symbols[:at], self._purity[:at]
        self._base += at
        return found

    def _mean_purity(self, at: int) -> float:
        taken = self._purity[at : at + SYMBOLS * HOPS_PER_SYMBOL : HOPS_PER_SYMBOL]
        return sum(taken) / len(taken)

    def _frame_at(self, at: int) -> Frame | None:
        if self._symbols[at] != PREAMBLE[0]:
            return None
        taken = self._symbols[at : at + (SYMBOLS - 1) * HOPS_PER_SYMBOL + 1 : HOPS_PER_SYMBOL]
        if tuple(taken[: len(PREAMBLE)]) != PREAMBLE or not all(0 <= s < 16 for s in taken[len(PREAMBLE) :]):
            return None
        kind, *pairs = taken[len(PREAMBLE) :]
        call, question, turns, crc = (pairs[i] << 4 | pairs[i + 1] for i in range(0, 8, 2))
        if kind not in list(Kind) or crc != _crc8((kind, call, question, turns)):
            return None
        return Frame(Kind(kind), call, question, turns)
