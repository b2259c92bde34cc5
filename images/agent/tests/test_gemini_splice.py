"""Two recordings of the same caller are joined where the first one ends."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from voice_agent.gemini.audio import RATE, CallerAudio
from voice_agent.gemini.splice import end_of, rest

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


@pytest.mark.parametrize("heard_s", [2.0, 0.2], ids=["heard", "yet-to-come"])
def test_after_a_word_the_silence_counts_from_its_end(speech: Sound, heard_s: float) -> None:
    said, pause = speech[: 2 * RATE], np.zeros(RATE)
    second = np.concatenate([said[RATE // 4 :], np.zeros(int(heard_s * RATE))])
    found = end_of(pcm(np.concatenate([said, pause])), pcm(second), 2 * (2 * RATE + RATE // 2))
    assert found is not None
    assert abs(found / 2 - (said.size - RATE // 4 + pause.size)) <= 2


def test_a_pod_that_has_yet_to_hear_the_last_words_says_so(speech: Sound) -> None:
    now = 100.0
    own = CallerAudio(clock=lambda: now)
    cut = 2 * RATE
    # Its loop stood still for 0.6 s: what it has heard ends before the other's recording does, though it is later.
    own.push(pcm(speech[RATE // 2 : cut - 6 * RATE // 10]))
    assert not rest(pcm(speech[:cut]), own, now - 0.1, quiet_s=0).certain
    own.push(pcm(speech[cut - 6 * RATE // 10 : cut + RATE // 4]))
    found = rest(pcm(speech[:cut]), own, now - 0.1, quiet_s=0)
    assert found.certain
    assert abs(len(found.audio) / 2 - RATE // 4) <= 2


def test_what_was_said_before_this_pod_could_hear_it_is_not_waited_for(speech: Sound) -> None:
    now = 100.0
    own = CallerAudio(clock=lambda: now)
    own.push(pcm(np.zeros(RATE)))
    said = np.concatenate([speech, np.zeros(RATE // 2)])
    assert rest(pcm(said), own, now - 0.7, quiet_s=0).certain
    assert rest(pcm(speech), own, now - 1.5, quiet_s=0).certain
    assert rest(pcm(np.zeros(RATE)), own, now - 0.1, quiet_s=60).certain


@pytest.mark.parametrize(("quiet_s", "again_s"), [(0.4, 0.2), (1.0, 0.8), (60.0, 0.8)])
def test_of_a_pause_no_more_is_heard_again_than_it_has_lasted(speech: Sound, quiet_s: float, again_s: float) -> None:
    now = 100.0
    own = CallerAudio(clock=lambda: now)
    own.push(pcm(speech))
    own.push(pcm(np.zeros(int((quiet_s + 0.1) * RATE))))
    # What is answered is not in the first recording any more.
    audio = rest(pcm(np.zeros(3 * RATE // 10)), own, now - 0.1, quiet_s=quiet_s).audio
    assert len(audio) / 2 == pytest.approx((0.1 + again_s) * RATE, abs=2)
    assert not any(audio)


def test_nothing_is_found_in_silence_or_in_other_words(speech: Sound) -> None:
    silence = np.zeros(RATE)
    assert end_of(pcm(silence), pcm(np.concatenate([speech, silence])), 0) is None
    assert end_of(pcm(speech[:RATE]), pcm(np.concatenate([silence, silence])), 2 * RATE) is None
    assert end_of(pcm(speech[: 2 * RATE]), pcm(speech[2 * RATE :]), 0) is None
    assert end_of(b"", pcm(speech), 0) is None
    assert end_of(pcm(speech[:RATE]), b"", 0) is None
