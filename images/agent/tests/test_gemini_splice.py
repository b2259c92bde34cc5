"""Two recordings of the same caller are joined where the first one ends."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voice_agent.gemini.audio import RATE
from voice_agent.gemini.splice import end_of

Sound = NDArray[np.float64]


@pytest.fixture
def speech() -> Sound:
    """Three seconds that rise and fall as syllables do, over a voice's harmonics and a breath of noise."""
    random = np.random.default_rng(1)
    time = np.arange(3 * RATE) / RATE
    pitch = 2 * np.pi * np.cumsum(140 + 30 * np.sin(2 * np.pi * 0.7 * time)) / RATE
    voice = sum(np.sin(k * pitch + random.uniform(0, 6)) / k for k in range(1, 20))
    syllables = np.abs(np.sin(2 * np.pi * 2.1 * time)) ** 2
    sound: Sound = 0.1 * voice * syllables + 0.002 * random.standard_normal(time.size)
    return sound


def pcm(sound: Sound) -> bytes:
    return (sound * 32767).astype(np.int16).tobytes()


@pytest.mark.parametrize("off_s", [-1.5, -0.2, 0.0, 0.2, 1.5])
def test_the_moment_is_found_however_wrong_the_clock_is(speech: Sound, off_s: float) -> None:
    cut, late = 2 * RATE, RATE // 4
    expected = cut - late + int(off_s * RATE)
    # The second one begins later, is a little softer, and has noise of its own.
    noise = 0.003 * np.random.default_rng(2).standard_normal(speech.size - late)
    found = end_of(pcm(speech[:cut]), pcm(0.8 * speech[late:] + noise), 2 * expected)
    assert found is not None
    assert abs(found / 2 - (cut - late)) <= 2


def test_a_second_recording_may_begin_in_the_last_syllable_of_the_first(speech: Sound) -> None:
    cut = 2 * RATE
    begin = cut - 2 * RATE // 5
    found = end_of(pcm(speech[:cut]), pcm(speech[begin:]), 0)
    assert found is not None
    assert abs(found / 2 - (cut - begin)) <= 2


def test_of_a_steady_tone_the_nearest_period_is_taken() -> None:
    tone = 0.1 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)
    found = end_of(pcm(tone[:RATE]), pcm(tone), 2 * (RATE + 3))
    assert found is not None
    assert abs(found / 2 - RATE) <= 2


def test_nothing_is_found_in_silence_or_in_other_words(speech: Sound) -> None:
    silence = np.zeros(RATE)
    assert end_of(pcm(np.concatenate([speech, silence])), pcm(np.concatenate([speech, silence])), 0) is None
    assert end_of(pcm(speech[:RATE]), pcm(np.concatenate([silence, silence])), 2 * RATE) is None
    assert end_of(pcm(speech[: 2 * RATE]), pcm(speech[2 * RATE :]), 0) is None
    assert end_of(b"", pcm(speech), 0) is None
    assert end_of(pcm(speech[:RATE]), b"", 0) is None
