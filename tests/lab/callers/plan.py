"""What a caller is to do: handed to its process as one line of JSON."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass, replace

from lab.signals import Kind

# How a call ends that its caller ended as planned; every other ending is something that went wrong.
DONE = "done"
TOLD_TO_STOP = "told to stop"
QUESTION_KINDS = (Kind.ASK, Kind.ASK_TOOL, Kind.ASK_LONG)


@dataclass(frozen=True)
class CallPlan:
    """One call, from dialling to hanging up.

    Attributes:
        url: LiveKit's ``ws://`` or ``wss://`` address.
        api_key: LiveKit's API key, which signs the caller's token.
        api_secret: the key's secret.
        room: the room's name; a fleet appends the call's number.
        call: the call's number, 0-255, part of every frame.
        agent_name: the agent that the token's room configuration dispatches; empty for automatic dispatch.
        questions: how many questions to ask; None goes on until told to stop.
        kinds: the questions' kinds, used in turn. The caller barges into the answer of an ASK_LONG.
        pause_s: mean pause, in seconds, between the end of an answer and the next question.
        pause_jitter: the pause varies by this share of itself either way, 0 to 1.
        seed: makes the pauses repeatable.
        answer_timeout_s: a question whose answer was not recognised this long after its end is a lost turn.
        agent_timeout_s: how long the caller waits for an agent's audio track before it gives the call up.
        barge_in_after_s: how much of a long answer the caller listens to after the answer was recognised.
        spoken: ask in words, and take whatever an agent then says for the answer; for the real model.
        reconnect_before: the question, from 1, before which the caller's client leaves the room and joins it anew, as
            one does that changes networks; None never does.
        give_up_after: so many lost turns in a row make the caller hang up.
    """

    url: str
    api_key: str
    api_secret: str
    room: str = "call"
    call: int = 1
    agent_name: str = "voice-agent"
    questions: int | None = None
    kinds: tuple[Kind, ...] = (Kind.ASK,)
    pause_s: float = 1.5
    pause_jitter: float = 0.5
    seed: int = 1
    answer_timeout_s: float = 15.0
    agent_timeout_s: float = 30.0
    barge_in_after_s: float = 0.7
    reconnect_before: int | None = None
    give_up_after: int = 3
    spoken: bool = False

    def __post_init__(self) -> None:
        if not self.kinds or any(kind not in QUESTION_KINDS for kind in self.kinds):
            names = ", ".join(kind.name for kind in QUESTION_KINDS)
            raise ValueError(f"CallPlan.kinds is {self.kinds}: name at least one of {names}")
        if not 0 <= self.call <= 255:
            raise ValueError(f"CallPlan.call is {self.call}: a frame carries 0 to 255")
        if not 0 <= self.pause_jitter <= 1:
            raise ValueError(f"CallPlan.pause_jitter is {self.pause_jitter}: it is a share, 0 to 1")
        if self.give_up_after < 1:
            raise ValueError(f"CallPlan.give_up_after is {self.give_up_after}: it must be at least 1")

    def numbered(self, call: int) -> CallPlan:
        """The plan of the fleet's call of this number: a room and a seed of its own."""
        return replace(self, call=call, room=f"{self.room}-{call}", seed=self.seed * 1000 + call)

    def kind_of(self, question: int) -> Kind:
        """The kind of a question; questions count from 1."""
        return self.kinds[(question - 1) % len(self.kinds)]

    def pauses(self) -> PauseSequence:
        """The pauses between this call's questions."""
        return PauseSequence(self)

    def to_json(self) -> str:
        """The plan as one line; it holds the API secret."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> CallPlan:
        """The plan that ``to_json`` wrote.

        Raises:
            ValueError: the line is no plan.
        """
        try:
            values = json.loads(line)
            values["kinds"] = tuple(Kind(kind) for kind in values.get("kinds", [Kind.ASK]))
            return cls(**values)
        except (TypeError, KeyError) as error:
            raise ValueError(f"the first line of the input is no call plan: {error}") from error


class PauseSequence:
    """The same random pauses for the same seed, whatever else uses random numbers."""

    def __init__(self, plan: CallPlan) -> None:
        self._random = random.Random(plan.seed)  # noqa: S311 - pauses are no secret
        self._plan = plan

    def next(self) -> float:
        """The next pause in seconds."""
        jitter = self._random.uniform(-self._plan.pause_jitter, self._plan.pause_jitter)
        return self._plan.pause_s * (1 + jitter)
