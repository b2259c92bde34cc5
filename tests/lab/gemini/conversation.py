"""What the simulated model remembers: conversations that outlive their connections by resumption handles."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass, field, replace

from lab.signals import Frame

_QUESTION = re.compile(r"call (\d+) question (\d+)")


@dataclass
class Conversation:
    """The user turns of one logical session.

    Attributes:
        id: its name, kept over every resumption.
        started: wall-clock time of its first connection.
        questions: the user turns that it remembers, in order; one whose words were not understood is ``(0, 0)``.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    started: float = field(default_factory=time.time)
    questions: list[tuple[int, int]] = field(default_factory=list)

    @property
    def call(self) -> int | None:
        """The number of the call, once an utterance has told it."""
        return self.questions[-1][0] if self.questions else None

    @property
    def turns(self) -> int:
        """How many user turns it remembers, 255 at the most, which is what a frame can carry."""
        return min(len(self.questions), 255)

    def hear(self, frame: Frame | None) -> None:
        """Remember a user turn. One that was heard before (a replay after a hand-over) is not counted again."""
        question = (frame.call, frame.question) if frame else (0, 0)
        if frame is None or question not in self.questions:
            self.questions.append(question)

    def read(self, text: str) -> None:
        """Remember the user turns that a replayed chat history tells of."""
        for call, number in _QUESTION.findall(text):
            if (int(call), int(number)) not in self.questions:
                self.questions.append((int(call), int(number)))


class Conversations:
    """Every conversation that a handle can bring back. A handle restores the state at which it was given out."""

    def __init__(self) -> None:
        self._saved: dict[str, tuple[float, Conversation]] = {}

    def save(self, conversation: Conversation, ttl_s: float) -> str:
        """A new handle for the conversation as it is now."""
        handle = secrets.token_urlsafe(24)
        copy = replace(conversation, questions=list(conversation.questions))
        self._saved[handle] = (time.monotonic() + ttl_s, copy)
        return handle

    def restore(self, handle: str) -> Conversation | None:
        """The conversation of a handle, or None if the handle is unknown or has expired.

        Two connections on one handle get a copy each: what the real service does is not known.
        """
        expires, saved = self._saved.get(handle, (0.0, None))
        if saved is None or time.monotonic() > expires:
            return None
        return replace(saved, questions=list(saved.questions))
