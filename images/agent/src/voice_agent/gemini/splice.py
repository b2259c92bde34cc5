"""Where one pod's recording of the caller ends in another's.

No two pods hear the caller at the same moment, nor share a clock; what they hear is the same. In the middle of a word a
tenth of a second that is missing, or comes twice, is another word.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voice_agent.gemini.audio import RATE, THRESHOLD

# So much of the first recording's end is looked for: some syllables, which are not said alike twice.
_TAIL_SAMPLES = RATE // 2
# A busy node may be so late, or its message about the cut.
_SEARCH_SAMPLES = 2 * RATE
# Of the same sound through two decoders and resamplers; different words stay far below.
_ALIKE = 0.6
# A steady tone is like itself at each of its periods: the nearest is taken.
_LESS_ALIKE_A_SECOND = 0.05


def end_of(first: bytes, second: bytes, expected: int) -> int | None:
    """The position in `second` of the moment at which `first` ends.

    Args:
        first: 16 kHz 16-bit mono PCM.
        second: the same, of the same caller; it begins before `first` ends, or soon after.
        expected: the position by the clocks, in bytes.

    Returns:
        In bytes, from 0 to the length of `second`; None if `first` ends in silence, or its end is not in `second`.
    """
    tail = _samples(first)[-_TAIL_SAMPLES:]
    energy = float(tail @ tail)
    if not energy > THRESHOLD**2 * RATE / 10:
        return None
    begin = max(0, expected // 2 - _SEARCH_SAMPLES)
    searched = _samples(second)[begin : expected // 2 + _SEARCH_SAMPLES]
    # The tail may have begun before the second recording did.
    padded = np.concatenate([np.zeros(tail.size), searched])
    ends = begin + np.arange(searched.size + 1)
    likeness = _likeness(tail, padded, energy)
    likeness -= _LESS_ALIKE_A_SECOND * np.abs(ends - expected // 2) / RATE
    best = int(np.argmax(likeness))
    return int(ends[best]) * 2 if likeness[best] >= _ALIKE else None


def _samples(pcm: bytes) -> NDArray[np.float64]:
    return np.frombuffer(pcm[: len(pcm) // 2 * 2], np.int16).astype(np.float64) / 32768


def _likeness(tail: NDArray[np.float64], sound: NDArray[np.float64], energy: float) -> NDArray[np.float64]:
    """Normalised cross-correlation of the tail with each stretch of the sound that is as long."""
    size = 1 << (sound.size + tail.size - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(sound, size) * np.conj(np.fft.rfft(tail, size)), size)
    sums = np.concatenate([[0.0], np.cumsum(sound**2)])
    energies = sums[tail.size :] - sums[: sums.size - tail.size]
    # Against silence everything would be alike.
    likeness: NDArray[np.float64] = products[: energies.size] / np.sqrt(np.maximum(energies, energy / 4) * energy)
    return likeness
