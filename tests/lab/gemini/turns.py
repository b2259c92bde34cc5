"""The log of user turns: the ground truth that callers' reports are held against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Turn:
    """One user turn as the model took it; times are wall-clock seconds.

    Attributes:
        time: when the utterance was over.
        connection: the connection that it came by.
        conversation: the conversation that it belongs to.
        call: the call's number, None if the utterance was not understood.
        question: the question's number in the call, None likewise.
        kind: the question's kind.
        turns: how many user turns the conversation remembers, this one included.
        answered: when the first audio of the answer was sent.
        completed: when its last audio was sent; None if the answer was interrupted or the connection ended.
    """

    time: float
    connection: int
    conversation: str
    call: int | None
    question: int | None
    kind: str
    turns: int
    answered: float | None = None
    completed: float | None = None
