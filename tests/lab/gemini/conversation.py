"""What the simulated model remembers: conversations that outlive their connections by resumption handles."""

from __future__ import annotations

import re
import secrets
import time
from collections import deque
from dataclasses import dataclass, field, replace

from lab.signals import Frame

# A call and the number of the question in it.
Question = tuple[int, int]

_QUESTION = re.compile(r"call (\d+) question (\d+)")
# A frame carries no more.
_MOST_TURNS = 255
# Of one conversation; each holds a copy of it.
_KEPT_HANDLES = 32


def question_text(call: int, question: int) -> str:
    """The words of a question, as transcription writes them and a replayed history is read."""
    return f"call {call} question {question}"


def answer_text(frame: Frame) -> str:
    """The words of an answer."""
    return f"answer to {question_text(frame.call, frame.question)}, turn {frame.turns}"


@dataclass
class Conversation:
    """The user turns of one logical session.

    Attributes:
        id: its name, kept over every resumption.
        started: when its first connection began, on the monotonic clock.
        questions: the user turns that it remembers, in order; None is one that was not understood.
        unanswered: whether the last of them still waits for its answer.
        tokens: how much of the context window it fills.
    """

    id: str = field(default_factory=lambda: secrets.token_hex(4))
    started: float = field(default_factory=time.monotonic)
    questions: list[Question | None] = field(default_factory=list)
    unanswered: bool = False
    tokens: int = 0

    @property
    def call(self) -> int | None:
        """The number of the call, once an utterance has told it."""
        return next((question[0] for question in reversed(self.questions) if question), None)

    @property
    def turns(self) -> int:
        """How many user turns it remembers; 255 at the most."""
        return min(len(self.questions), _MOST_TURNS)

    @property
    def open_question(self) -> Question | None:
        """The user's last question, if it was understood and not answered yet."""
        return self.questions[-1] if self.questions and self.unanswered else None

    def hear(self, question: Question | None) -> None:
        """Remember a user turn; one that is heard again (replayed after a hand-over) is still one turn."""
        if question is not None and question in self.questions:
            self.questions.remove(question)
        self.questions.append(question)
        self.unanswered = True

    def answer(self, question: Question) -> None:
        """Note that a question was answered."""
        if question == self.open_question:
            self.unanswered = False

    def read(self, role: str, text: str) -> None:
        """Take in a text: the user's questions in it, or, in the model's words, that they were answered."""
        for call, number in _QUESTION.findall(text):
            question = (int(call), int(number))
            if role == "user":
                self.hear(question)
            else:
                self.answer(question)

    def copy(self) -> Conversation:
        """The conversation as it is now."""
        return replace(self, questions=list(self.questions))


@dataclass(frozen=True)
class _Saved:
    handle: str
    expires: float
    conversation: Conversation


class Conversations:
    """Every conversation that a handle can bring back. A handle restores the state at which it was given out."""

    def __init__(self) -> None:
        self._saved: dict[str, deque[_Saved]] = {}

    def save(self, conversation: Conversation, ttl_s: float) -> str:
        """A new handle for the conversation as it is now."""
        now = time.monotonic()
        for name in [name for name, saved in self._saved.items() if saved[-1].expires < now]:
            del self._saved[name]
        handle = f"{conversation.id}.{secrets.token_urlsafe(24)}"
        saved = self._saved.setdefault(conversation.id, deque(maxlen=_KEPT_HANDLES))
        saved.append(_Saved(handle, now + ttl_s, conversation.copy()))
        return handle

    def restore(self, handle: str) -> Conversation | None:
        """A copy of the conversation of a handle, or None if the handle is unknown or has expired."""
        now = time.monotonic()
        for saved in self._saved.get(handle.partition(".")[0], ()):
            if saved.handle == handle and now < saved.expires:
                return saved.conversation.copy()
        return None
