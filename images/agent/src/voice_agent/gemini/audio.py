"""The caller's audio that no answer covers yet, and whether the caller is speaking."""

from __future__ import annotations

import math
import time
from array import array
from collections import deque
from collections.abc import Callable

RATE = 16_000
"""Samples a second, mono 16-bit PCM: what the Live API takes."""
BYTES_A_SECOND = RATE * 2
# Of full scale: louder than comfort noise, which lies under -50 dB, softer than the softest caller.
THRESHOLD = 0.006
# Speech pauses for a moment within this time; a sound that does not is noise, and only what is louder counts.
_FLOOR_SECONDS = 3.0
_ABOVE_FLOOR = 2.0
_ONSET_SECONDS = 0.1
_END_SECONDS = 0.5
# Kept before what the gate takes for the beginning: consonants are softer than vowels.
_PREROLL = int(0.3 * BYTES_A_SECOND)
# A track that sends nothing, because the caller muted it, is not in the middle of an utterance.
_STALE_SECONDS = 1.0


class CallerAudio:
    """What the caller said since the last answer, bounded, with an energy gate that finds the utterances in it.

    With turn detection by the server, nothing else tells that an utterance is open before the model replies.
    Positions are bytes since the beginning of the call.

    Args:
        longest_s: seconds kept; of a longer turn the beginning is dropped.
        clock: monotonic seconds.
    """

    def __init__(self, longest_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._longest = int(longest_s * BYTES_A_SECOND)
        self._clock = clock
        self._pcm = bytearray()
        self._start = 0
        self._onsets: list[int] = []
        self._levels: deque[float] = deque()
        self._loud = self._quiet = 0
        self._voiced = 0
        self._speaking = False
        self._pushed_at = -math.inf
        self.ended_at = -math.inf
        """When the last utterance ended, on the clock."""

    @property
    def pcm(self) -> bytes:
        """All that is kept; without an open utterance the last moment, which may hold the next one's beginning."""
        return bytes(self._pcm)

    @property
    def end(self) -> int:
        """The position after the last sample."""
        return self._start + len(self._pcm)

    @property
    def seconds(self) -> float:
        """How much was pushed in all."""
        return self.end / BYTES_A_SECOND

    def offset(self, position: int) -> int:
        """Where in `pcm` a position is."""
        return min(max(position - self._start, 0), len(self._pcm))

    def offset_at(self, moment: float) -> int:
        """Where in `pcm` a moment on the clock is."""
        later = int((self._pushed_at - moment) * RATE) if self._pushed_at > moment else 0
        return self.offset(self.end - 2 * later)

    @property
    def speaking(self) -> bool:
        """Whether the caller is in the middle of an utterance."""
        return self._speaking and self._clock() - self._pushed_at < _STALE_SECONDS

    @property
    def pending(self) -> bool:
        """Whether an utterance is kept, finished or not."""
        return bool(self._onsets)

    @property
    def quiet_s(self) -> float:
        """Seconds since the last sound that was not noise; a muted caller sends none at all."""
        return self._quiet / BYTES_A_SECOND + self._clock() - self._pushed_at

    @property
    def voiced_s(self) -> float:
        """Seconds of sound, without the pauses, in the utterances kept."""
        return self._voiced / BYTES_A_SECOND

    def push(self, pcm: bytes) -> bool:
        """Take the next samples, 50 ms or so; returns whether an utterance began or ended."""
        self._pcm += pcm
        self._pushed_at = self._clock()
        before = self._speaking
        self._gate(pcm)
        self._drop(self.end - (self._longest if self._onsets else self._moment()))
        return self._speaking != before

    def answered(self, position: int, *, interrupted: bool = False) -> None:
        """Forget what an answer that began at `position` has answered; an utterance that began later stays.

        Args:
            position: where the audio was when the answer's first part came.
            interrupted: the service heard the caller speak into the answer, perhaps before the gate did.
        """
        later = [onset for onset in self._onsets if onset >= position]
        if interrupted and self._speaking and self._onsets:
            # What is being said now is what interrupted it, also if it began before the answer did.
            later = later or self._onsets[-1:]
        if later:
            self._forget(later[0] - _PREROLL, later, self._voiced)
        elif self._speaking:
            self._forget(position, [position], self._loud)
        else:
            self._forget(self.end - (BYTES_A_SECOND if interrupted else self._moment()), [], 0)

    def _gate(self, pcm: bytes) -> None:
        level = _level(pcm)
        self._levels.append(level)
        settled = len(self._levels) * len(pcm) > _FLOOR_SECONDS * BYTES_A_SECOND
        if settled:
            self._levels.popleft()
        if level > max(THRESHOLD, _ABOVE_FLOOR * min(self._levels) if settled else 0.0):
            self._loud += len(pcm)
            self._quiet = 0
            if self._speaking:
                self._voiced += len(pcm)
            elif self._loud >= _ONSET_SECONDS * BYTES_A_SECOND:
                self._speaking = True
                self._voiced += self._loud
                self._onsets.append(self.end - self._loud)
        else:
            self._loud = 0
            self._quiet += len(pcm)
            if self._speaking and self._quiet >= _END_SECONDS * BYTES_A_SECOND:
                self._speaking = False
                self.ended_at = self._clock()
                if not self._voiced:
                    # What is left of an utterance that was answered before its final silence was over.
                    self._onsets = []

    def _moment(self) -> int:
        return _PREROLL + self._loud

    def _forget(self, position: int, onsets: list[int], voiced: int) -> None:
        self._onsets = onsets
        self._voiced = voiced
        self._drop(position)

    def _drop(self, position: int) -> None:
        surplus = position - self._start
        if surplus > 0:
            del self._pcm[:surplus]
            self._start = position


def _level(pcm: bytes) -> float:
    """Root mean square, as a share of full scale."""
    samples = array("h", pcm)
    # Not a loop: twenty times a second, it would be a hundredth of all that a call costs.
    return math.hypot(*samples) / math.sqrt(len(samples)) / 32768 if samples else 0.0
