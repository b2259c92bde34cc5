"""Turn detection by activity: when the user began to speak, what was said, and when the utterance ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lab.signals import Decoder, Frame, level

# Louder than codec noise (some 0.001), softer than the softest caller.
THRESHOLD = 0.01
# So much sound is speech, not a click.
ONSET_S = 0.06


@dataclass(frozen=True)
class Started:
    """The user began to speak."""


@dataclass(frozen=True)
class Ended:
    """The user's utterance is over; ``frame`` is what was understood, ``seconds`` its length with the final silence."""

    frame: Frame | None
    seconds: float


class Listener:
    """Follows the user's audio. Time is audio time: a client that sends nothing is neither speaking nor silent.

    Like a service that listens to what is said, it waits longer in the middle of a sentence: an utterance whose frame
    is unfinished ends when the frame can no longer go on.

    Attributes:
        endpointing_s: silence that ends an utterance.
        onset_s: sound that begins one.
        speaking: whether the user is in the middle of one.
    """

    def __init__(self, rate: int, *, automatic: bool = True) -> None:
        self.rate = rate
        self.endpointing_s = 0.5
        self.onset_s = ONSET_S
        self.speaking = False
        self._automatic = automatic
        self._decoder = Decoder(rate)
        self._frame: Frame | None = None
        self._loud_s = 0.0
        self._quiet_s = 0.0
        self._seconds = 0.0

    @property
    def spoken_s(self) -> float:
        """Seconds since the utterance began; 0 between utterances."""
        return self._seconds

    def feed(self, pcm: NDArray[np.int16]) -> list[Started | Ended]:
        """Take the next samples; returns what they began or ended."""
        seconds = pcm.size / self.rate
        for heard in self._decoder.feed(pcm):
            self._frame = heard.frame
        if self.speaking:
            self._seconds += seconds
        if not self._automatic:
            return []
        if level(pcm) > THRESHOLD:
            self._loud_s += seconds
            self._quiet_s = 0.0
            if not self.speaking and self._loud_s >= self.onset_s:
                return [self.start()]
        else:
            self._quiet_s += seconds
            if not self.speaking:
                self._loud_s = 0.0
            elif self._quiet_s >= self.endpointing_s and not self._decoder.unfinished:
                return [self.end()]
        return []

    def start(self) -> Started:
        """The utterance begins, by activity or because the client says so."""
        self.speaking = True
        self._frame = None
        self._seconds = self._loud_s
        return Started()

    def end(self) -> Ended:
        """The utterance ends, by silence or because the client says so."""
        ended = Ended(self._frame, self._seconds)
        self.speaking = False
        self._frame = None
        self._loud_s = self._quiet_s = self._seconds = 0.0
        return ended
