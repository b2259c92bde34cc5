"""Questions in words, for a model that does not know tones: spoken by espeak-ng, from its Debian package."""

from __future__ import annotations

import io
import subprocess
import sys
import wave

import numpy as np
from numpy.typing import NDArray

from lab.packages import ensure

PROGRAM = {"espeak-ng": "espeak-ng"}
# What an answer in words says about the conversation's memory: nothing that a caller could check.
UNKNOWN_TURNS = -1


def install() -> None:
    """Install espeak-ng unless it is there.

    Raises:
        MissingPackagesError: it cannot be installed; the message says how.
    """
    ensure(PROGRAM, lambda line: print(line, file=sys.stderr))


def speak(question: int, rate: int) -> NDArray[np.int16]:
    """A short question as mono PCM at ``rate`` samples a second; each question is another one."""
    text = f"Question {question}. What is {question} plus {question}? Answer in one short sentence."
    done = subprocess.run(["espeak-ng", "--stdout", "-s", "170", text], capture_output=True, check=True)
    with wave.open(io.BytesIO(done.stdout)) as spoken:
        # espeak-ng writes a header before it knows the length.
        pcm = np.frombuffer(spoken.readframes(2**24), dtype="<i2")
        own_rate = spoken.getframerate()
    at = np.arange(round(pcm.size * rate / own_rate)) * own_rate / rate
    resampled: NDArray[np.int16] = np.interp(at, np.arange(pcm.size), pcm).astype(np.int16)
    return resampled
