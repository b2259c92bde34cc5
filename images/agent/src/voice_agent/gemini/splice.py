"""Where one pod's recording of the caller ends in another's.

No two pods hear the caller at the same moment, nor share a clock; what they hear is the same. In the middle of a word a
tenth of a second that is missing, or comes twice, is another word.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from voice_agent.gemini.audio import RATE, THRESHOLD, CallerAudio

# So much of the first recording's last sound is looked for: some syllables, which are not said alike twice.
_TAIL_SAMPLES = RATE // 2
# Sound before so long a silence need not be looked for: in a pause nothing is said twice, or lost.
_SILENCE_SAMPLES = 3 * RATE
_BLOCK_SAMPLES = RATE // 50
# A busy node may be so late, or its message about the cut.
_SEARCH_SAMPLES = 2 * RATE
# Of the same sound through two decoders and resamplers; different words stay far below.
_ALIKE = 0.6
# A steady tone is like itself at each of its periods: the nearest is taken.
_LESS_ALIKE_A_SECOND = 0.05
# Of two pods one may hear the caller later than the other, if its node is busy; in a pause the sound does not tell by
# how much. There it costs nothing to begin before the cut.
OVERLAP_SECONDS = 0.8
MARGIN_SECONDS = 0.2
"""So much of the pause is left out: its beginning, too, is known by two clocks."""


@dataclass(frozen=True)
class Rest:
    """What this pod has heard that another has not.

    Attributes:
        audio: 16 kHz 16-bit mono PCM.
        certain: False if the other's last sound should be in what this pod has heard, and is not: short of a processor,
            it may have yet to hear it. Then the clocks decide, as they do in a pause.
    """

    audio: bytes = field(repr=False)
    certain: bool


def rest(first: bytes, own: CallerAudio, cut: float, *, quiet_s: float) -> Rest:
    """What this pod has heard that another has not.

    Args:
        first: what the other has heard, 16 kHz 16-bit mono PCM.
        own: what this one has heard.
        cut: when `first` ended on this pod's `time.monotonic()`, roughly.
        quiet_s: how long the caller had been quiet by then; 0 if `first` holds an utterance.
    """
    heard, expected = own.pcm, own.offset_at(cut)
    begin = end_of(first, heard, expected)
    if begin is not None:
        return Rest(heard[begin:], certain=begin <= len(heard))
    overlap = min(OVERLAP_SECONDS, max(0.0, quiet_s - MARGIN_SECONDS))
    begin = max(0, expected - 2 * int(overlap * RATE))
    last = _last_sound(first)
    return Rest(heard[begin:], certain=last is None or expected <= 2 * last.silence)


def end_of(first: bytes, second: bytes, expected: int) -> int | None:
    """The position in `second` of the moment at which `first` ends.

    Args:
        first: 16 kHz 16-bit mono PCM.
        second: the same, of the same caller; it begins before `first` ends, or soon after.
        expected: the position by the clocks, in bytes.

    Returns:
        In bytes; beyond the length of `second` if `first` ends in silence that is not in it yet. None if there is
        nothing but silence in the last seconds of `first`, or its last sound is not in `second`.
    """
    last = _last_sound(first)
    if last is None:
        return None
    tail, energy, silence = last
    expected = expected // 2 - silence
    begin = max(0, expected - _SEARCH_SAMPLES)
    searched = _samples(second)[begin : max(0, expected + _SEARCH_SAMPLES)]
    # The tail may have begun before the second recording did.
    padded = np.concatenate([np.zeros(tail.size), searched])
    ends = begin + np.arange(searched.size + 1)
    likeness = _likeness(tail, padded, energy)
    likeness -= _LESS_ALIKE_A_SECOND * np.abs(ends - expected) / RATE
    best = int(np.argmax(likeness))
    return 2 * (int(ends[best]) + silence) if likeness[best] >= _ALIKE else None


class _Sound(NamedTuple):
    tail: NDArray[np.float64]
    energy: float
    silence: int
    """How many samples follow it."""


def _last_sound(pcm: bytes) -> _Sound | None:
    """The last sound; None if there was none lately."""
    samples = _samples(pcm)
    recent = samples[-_SILENCE_SAMPLES:]
    blocks = recent[recent.size % _BLOCK_SAMPLES :].reshape(-1, _BLOCK_SAMPLES)
    loud = np.flatnonzero(np.einsum("ij,ij->i", blocks, blocks) > THRESHOLD**2 * _BLOCK_SAMPLES)
    if not loud.size:
        return None
    silence = (len(blocks) - 1 - int(loud[-1])) * _BLOCK_SAMPLES
    tail = samples[: samples.size - silence][-_TAIL_SAMPLES:]
    energy = float(tail @ tail)
    # A click is like any other.
    return _Sound(tail, energy, silence) if energy > THRESHOLD**2 * RATE / 10 else None


def _samples(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm, np.int16).astype(np.float64) / 32768


def _likeness(tail: NDArray[np.float64], sound: NDArray[np.float64], energy: float) -> NDArray[np.float64]:
    """Normalised cross-correlation of the tail with each stretch of the sound that is as long."""
    size = 1 << (sound.size + tail.size - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(tail, size)), size)
    sums = np.concatenate([[0.0], np.cumsum(sound**2)])
    energies = sums[tail.size :] - sums[: sums.size - tail.size]
    # Against silence everything would be alike.
    likeness: NDArray[np.float64] = products[: energies.size] / np.sqrt(np.maximum(energies, energy / 4) * energy)
    return likeness
