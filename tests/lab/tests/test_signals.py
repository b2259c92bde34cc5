"""Frames must survive what lies between a caller and the model, and nothing else may be taken for one."""

from __future__ import annotations

import time
from fractions import Fraction

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from lab.signals import SYMBOL_SECONDS, Decoder, Frame, Heard, Kind, encode, frame_seconds, hum, level

PCM = NDArray[np.int16]
FRAME = Frame(Kind.ANSWER, call=3, question=200, turns=17)
RATES = [16_000, 24_000, 48_000]
# What LiveKit publishes speech with.
OPUS_BITS_PER_SECOND = 24_000


def silence(seconds: float, rate: int = 16_000) -> PCM:
    return np.zeros(round(seconds * rate), dtype=np.int16)


def hear(pcm: PCM, rate: int = 16_000, chunk_s: float = 0.01) -> list[Heard]:
    """Decode in chunks as they come from the network."""
    decoder = Decoder(rate)
    chunk = round(chunk_s * rate)
    return [heard for at in range(0, pcm.size, chunk) for heard in decoder.feed(pcm[at : at + chunk])]


def frames(pcm: PCM, rate: int = 16_000) -> list[Frame]:
    return [heard.frame for heard in hear(pcm, rate)]


def clipped(samples: NDArray[np.float64]) -> PCM:
    return np.clip(samples, -32768, 32767).astype(np.int16)


def resampled(pcm: PCM, source: int, target: int) -> PCM:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=target)
    frame = av.AudioFrame.from_ndarray(pcm[np.newaxis, :], format="s16", layout="mono")
    frame.sample_rate = source
    return np.concatenate([part.to_ndarray()[0] for part in [*resampler.resample(frame), *resampler.resample(None)]])


def through_opus(pcm: PCM) -> PCM:
    """48 kHz speech, coded and decoded by libopus."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 48_000, "mono", "s16"
    encoder.bit_rate, encoder.time_base = OPUS_BITS_PER_SECOND, Fraction(1, 48_000)
    encoder.options = {"application": "voip"}
    decoder = av.CodecContext.create("libopus", "r")
    assert isinstance(decoder, av.AudioCodecContext)
    decoder.sample_rate, decoder.layout = 48_000, "mono"
    packets = []
    for at in range(0, pcm.size - 959, 960):
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis, at : at + 960], format="s16", layout="mono")
        frame.sample_rate, frame.pts = 48_000, at
        packets += encoder.encode(frame)
    decoded = [frame.to_ndarray() for packet in packets for frame in decoder.decode(packet)]
    joined = np.concatenate([part.reshape(-1) for part in decoded])
    return joined if joined.dtype == np.int16 else clipped(joined.astype(np.float64) * 32767)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("chunk_s", [0.01, 0.02, 0.1])
def test_a_frame_is_heard_at_any_sample_offset_and_tells_its_time(rate: int, chunk_s: float) -> None:
    for offset in range(0, rate // 50, rate // 1000):
        before = offset / rate + 0.3
        pcm = np.concatenate([silence(0.3, rate), np.zeros(offset, np.int16), encode(FRAME, rate), hum(0.3, rate)])
        [heard] = hear(pcm, rate, chunk_s)
        assert heard.frame == FRAME
        assert heard.start_s == pytest.approx(before, abs=0.02)
        assert heard.end_s == pytest.approx(before + frame_seconds(), abs=0.02)


@pytest.mark.parametrize("kind", list(Kind))
def test_every_field_comes_back(kind: Kind) -> None:
    for value in range(0, 256, 5):
        frame = Frame(kind, call=value, question=255 - value, turns=(value * 7) % 256)
        assert frames(np.concatenate([encode(frame, 16_000), silence(0.1)])) == [frame]


def test_frames_in_a_row_are_all_heard() -> None:
    spoken = [Frame(Kind.ASK, 1, number) for number in range(1, 6)]
    assert frames(np.concatenate([*(encode(frame, 16_000) for frame in spoken), silence(0.1)])) == spoken


@pytest.mark.parametrize("gain", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("source", [24_000, 48_000])
def test_opus_resampling_and_gain_leave_a_frame_readable(gain: float, source: int) -> None:
    rng = np.random.default_rng(source)
    for _ in range(5):
        frame = Frame(Kind.ANSWER, *rng.integers(0, 256, 3).tolist())
        spoken = np.concatenate([silence(0.2, source), encode(frame, source), hum(0.3, source)])
        at_48k = resampled(clipped(spoken * gain), source, 48_000) if source != 48_000 else clipped(spoken * gain)
        assert frames(resampled(through_opus(at_48k), 48_000, 16_000)) == [frame]


def test_a_frame_is_heard_in_noise() -> None:
    rng = np.random.default_rng(1)
    for number in range(20):
        frame = Frame(Kind.ASK, 9, number)
        pcm = np.concatenate([silence(0.3), encode(frame, 16_000), silence(0.3)]).astype(np.float64)
        noise = rng.normal(0, 0.4 * 32767 / np.sqrt(2) / 10 ** (10 / 20), pcm.size)
        assert frames(clipped(pcm + noise)) == [frame], "10 dB above white noise"


def test_a_jitter_buffer_that_stretches_cuts_or_pauses_does_not_harm_a_frame() -> None:
    pcm = encode(FRAME, 16_000)
    symbol = round(SYMBOL_SECONDS * 16_000)
    middle = 4 * symbol + symbol // 2
    stretched = np.concatenate([pcm[: middle + 200], pcm[middle - 200 :]])
    cut = np.concatenate([pcm[:middle], pcm[middle + 160 :]])
    paused = np.concatenate([pcm[: 4 * symbol], silence(0.9), pcm[4 * symbol :]])
    for changed in (stretched, cut, paused):
        assert frames(np.concatenate([changed, silence(0.1)])) == [FRAME]


def test_two_agents_at_once_are_never_taken_for_a_third_answer() -> None:
    rng = np.random.default_rng(2)
    heard = 0
    for _ in range(300):
        first, second = (Frame(Kind.ANSWER, *rng.integers(0, 256, 3).tolist()) for _ in range(2))
        one, other = (encode(frame, 16_000) * rng.uniform(0.1, 1.0) for frame in (first, second))
        offset = int(rng.integers(0, one.size))
        mix = np.zeros(one.size + offset + 3_000)
        mix[: one.size] += one
        mix[offset : offset + other.size] += other
        found = frames(clipped(mix))
        assert set(found) <= {first, second}
        heard += len(found)
    assert heard, "the louder one is often understood"


def test_a_frame_with_a_wrong_tone_is_not_heard() -> None:
    symbol = round(SYMBOL_SECONDS * 16_000)
    pcm, other = encode(FRAME, 16_000), encode(Frame(Kind.ANSWER, 12, 99, 130), 16_000)
    for number in range(3, 12):
        spoiled = pcm.copy()
        spoiled[number * symbol : (number + 1) * symbol] = other[number * symbol : (number + 1) * symbol]
        if not np.array_equal(spoiled, pcm):
            assert frames(np.concatenate([spoiled, silence(0.1)])) == []


def speech(seconds: float, rng: np.random.Generator) -> PCM:
    """Speech-like sound: a wandering pitch with formants, broken into syllables."""
    count = round(seconds * 16_000)
    knots = count // 1_600
    steps = np.linspace(0, knots - 1, count)
    pitch = np.interp(steps, np.arange(knots), rng.uniform(90, 260, knots))
    phase = 2 * np.pi * np.cumsum(pitch) / 16_000
    loudness = np.clip(np.interp(steps, np.arange(knots), rng.uniform(-0.5, 1, knots)), 0, None)
    sound = np.zeros(count)
    for harmonic in range(1, 30):
        formants = np.interp(steps, np.arange(knots), rng.uniform(0, 1, knots) ** 3)
        sound += formants / harmonic**0.5 * np.sin(harmonic * phase)
    return clipped(9_000 * loudness * sound)


def test_nothing_is_heard_in_noise_or_speech() -> None:
    rng = np.random.default_rng(3)
    white = clipped(rng.normal(0, 3_000, 60 * 16_000))
    talk = speech(120, rng)
    assert level(talk) > 0.05, "it is loud enough to matter"
    for sound in (white, talk, hum(5, 16_000), silence(5)):
        assert frames(sound) == []


def test_listening_costs_little() -> None:
    spoken = np.concatenate([encode(FRAME, 16_000), silence(1.0)])
    decoder, repetitions = Decoder(16_000), 20
    started = time.process_time()
    for _ in range(repetitions):
        for at in range(0, spoken.size, 800):
            decoder.feed(spoken[at : at + 800])
    spent = time.process_time() - started
    assert spent / (repetitions * spoken.size / 16_000) < 0.02, "twelve listeners take a quarter of a core at most"


@pytest.mark.parametrize("field", ["call", "question", "turns"])
def test_numbers_that_do_not_fit_are_refused_by_name(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 256"):
        Frame(Kind.ASK, **({"call": 0, "question": 0} | {field: 256}))
