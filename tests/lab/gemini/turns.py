"""The log of user turns: the ground truth that callers' reports are held against."""

from __future__ import annotations

import asyncio
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


class TurnLog:
    """Every user turn there was, in order."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self._added = asyncio.Event()

    def add(self, turn: Turn) -> None:
        """Log a turn and wake whoever waits for it."""
        self.turns.append(turn)
        self._added.set()
        self._added = asyncio.Event()

    async def wait_for(self, count: int) -> list[Turn]:
        """Wait until there were so many turns in all."""
        while len(self.turns) < count:
            await self._added.wait()
        return self.turns
