"""What a run's calls came to: turn by turn, call by call, and all together.

``lab.callers.measure`` defines the terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

# The ending of a call whose caller's own process did not live to tell another: it tells nothing of the agents.
PROCESS_DIED = "its process died"
# A stall that hides, or breaks, what is measured: longer than a pause in a sentence.
STARVED_SECONDS = 0.5
# Each track has a jitter buffer of its own: edges of two tracks are comparable to within about this much.
OVERLAP_TOLERANCE_MS = 100.0


class StarvedError(Exception):
    """The machine was too busy to measure calls on it, or a caller's own process did not end; measure again."""


@dataclass(frozen=True)
class Turn:
    """One question and its answer; times are wall-clock seconds.

    Attributes:
        question: its number, from 1.
        kind: its kind's name.
        asked: when the caller began to speak.
        asked_end: when its last sample was played out.
        answered: first audio of the answer in time, or None.
        latency_s: from ``asked_end`` to ``answered``; None if lost.
        answers: how many ANSWER frames were heard for it.
        said_again: whether they are two, of two agents, of which the first had left, and the second came before the
            question after next.
        remembered: user turns that the answer says the conversation holds.
        memory_kept: whether ``remembered`` is right; None without an answer, or with one in words.
        pod: the pod that answered.
        agent: the identity of the participant who answered.
    """

    question: int
    kind: str
    asked: float
    asked_end: float
    answered: float | None = None
    latency_s: float | None = None
    answers: int = 0
    said_again: bool = False
    remembered: int | None = None
    memory_kept: bool | None = None
    pod: str = ""
    agent: str = ""

    @property
    def lost(self) -> bool:
        """Whether the caller got no answer in time."""
        return self.answered is None


@dataclass(frozen=True)
class AgentSound:
    """An agent was audible from ``start`` to ``end`` (wall-clock seconds)."""

    start: float
    end: float
    pod: str
    agent: str = ""


@dataclass(frozen=True)
class AgentStay:
    """An agent's stay in the room; ``left`` is None if it outlasted the call."""

    agent: str
    pod: str
    joined: float
    left: float | None


def _there(stay: AgentStay, moment: float) -> bool:
    return stay.joined <= moment and (stay.left is None or moment < stay.left)


@dataclass(frozen=True)
class CallReport:
    """One call as its caller lived it.

    Attributes:
        call: its number.
        started: when the caller was in the room, wall-clock seconds.
        ended: when the last thing was noticed.
        turns: every question asked.
        sounds: when agents were audible.
        agents: who was in the room, and when.
        lost: whether the call was lost.
        ending: why the caller hung up.
        disconnects: how often the room was taken from the caller.
        reconnects: how often the caller's connection broke, whether or not it came back.
        longest_silence_s: the longest unexplained silence.
        overlap_ms: for how long more than one agent was audible.
        foreign: answers heard that belong to another call: that call's number and the question's.
        unclear: answers heard to something that was not understood.
        longest_stall_s: the longest time for which the caller's own process, or the fleet's, got no processor; what
            was measured then, latencies above all, is worse than what the agents did.
        killed: pods that were killed without a warning meanwhile: if one of them served the call, a turn may be lost,
            and an answer of its agent's be given once more by the next.
    """

    call: int
    started: float
    ended: float
    turns: tuple[Turn, ...]
    sounds: tuple[AgentSound, ...]
    agents: tuple[AgentStay, ...]
    lost: bool
    ending: str
    disconnects: int
    reconnects: int
    longest_silence_s: float
    overlap_ms: float
    foreign: tuple[tuple[int, int], ...]
    unclear: int
    longest_stall_s: float
    killed: tuple[str, ...] = ()

    @property
    def agent_died(self) -> bool:
        """Whether a pod that had the call was killed without a warning.

        It may have taken the call over a moment before, and not answered yet.
        """
        return not set(self.killed).isdisjoint([*self.pods, *(stay.pod for stay in self.agents if self._alone(stay))])

    def _alone(self, stay: AgentStay) -> bool:
        """Whether no other agent was there for some of the stay: one that waits to take the call over is not alone."""
        others = [other for other in self.agents if other is not stay]
        moments = [stay.joined, *(other.left for other in others if other.left is not None)]
        return any(_there(stay, moment) and not any(_there(other, moment) for other in others) for moment in moments)

    @property
    def measured(self) -> bool:
        """Whether the caller's process lived to the call's end, and had the processor all the time."""
        return self.ending != PROCESS_DIED and self.longest_stall_s <= STARVED_SECONDS

    @property
    def foreign_answers(self) -> int:
        """Answers heard that belong to another call."""
        return len(self.foreign)

    @property
    def asked(self) -> int:
        """Questions asked."""
        return len(self.turns)

    @property
    def answered(self) -> int:
        """Questions answered in time."""
        return sum(not turn.lost for turn in self.turns)

    @property
    def lost_turns(self) -> int:
        """Questions not answered in time."""
        return self.asked - self.answered

    @property
    def answered_twice(self) -> int:
        """Answers heard beyond the first of a question."""
        return sum(max(0, turn.answers - 1) for turn in self.turns)

    @property
    def memory_kept(self) -> bool:
        """Whether no answer told of a conversation other than the caller's."""
        return all(turn.memory_kept is not False for turn in self.turns)

    @property
    def latencies_s(self) -> list[float]:
        """Reply latencies of the turns answered, in seconds."""
        return [turn.latency_s for turn in self.turns if turn.latency_s is not None]

    @property
    def pods(self) -> list[str]:
        """The pods that answered, in the order of their first answer."""
        return list(dict.fromkeys(turn.pod for turn in self.turns if turn.pod))

    @property
    def agent_changes(self) -> int:
        """How often an answer came from another agent than the one before it."""
        return sum(before != after for before, after in pairwise(turn.agent for turn in self.turns if not turn.lost))

    @property
    def overlapped(self) -> bool:
        """Whether agents spoke at once for longer than the tracks' edges are uncertain."""
        return self.overlap_ms > OVERLAP_TOLERANCE_MS

    @property
    def findings(self) -> list[str]:
        """What was wrong with the call, in words; empty if it was as it should be."""
        found = self.broken
        if self.lost_turns:
            numbers = ", ".join(str(turn.question) for turn in self.turns if turn.lost)
            found.append(f"{self.lost_turns} lost (question {numbers})")
        if turn := self._cut_off:
            found.append(f"an answer begun anew (question {turn.question})")
        if self.unclear:
            found.append(f"{self.unclear} not understood")
        return found

    @property
    def broken(self) -> list[str]:
        """What was wrong with the call beyond single turns: what not even an agent's death may do to it."""
        found = []
        if self.lost:
            found.append(f"call lost ({self.ending})")
        if twice := [turn for turn in self.turns if turn.answers > 1 and turn is not self._cut_off]:
            numbers = ", ".join(str(turn.question) for turn in twice)
            found.append(f"{sum(turn.answers - 1 for turn in twice)} answered twice (question {numbers})")
        if self.overlapped:
            found.append(f"agents overlapped {self.overlap_ms:.0f} ms")
        if not self.memory_kept:
            found.append("memory lost")
        if self.foreign:
            heard = ", ".join(f"call {call} question {question}" for call, question in self.foreign)
            found.append(f"{self.foreign_answers} answers of other calls ({heard})")
        return found

    @property
    def _cut_off(self) -> Turn | None:
        """The turn whose answer an agent may have died in, so that the next agent, rightly, gave it once more."""
        return next((turn for turn in self.turns if turn.said_again and turn.pod in self.killed), None)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong but, if an agent died in the call, the turn and the answer that were under way."""
        return not self.broken and self.lost_turns <= 1 if self.agent_died else not self.findings

    @property
    def verdict(self) -> str:
        """In words."""
        return ", ".join(["ok"] * self.ok + self.findings)

    @property
    def story(self) -> str:
        """Turn by turn and agent by agent, a line each, at wall-clock times: to be laid beside the pods' logs."""
        told = [(turn.asked, _turn_line(turn)) for turn in self.turns]
        for stay in self.agents:
            told.append((stay.joined, f"{stay.agent} in {stay.pod} came"))
            if stay.left is not None:
                told.append((stay.left, f"{stay.agent} left"))
        told += [(sound.start, f"{sound.agent} audible for {sound.end - sound.start:.2f} s") for sound in self.sounds]
        lines = [f"call {self.call}: {self.verdict}"]
        lines += [f"  {datetime.fromtimestamp(when, UTC):%H:%M:%S.%f} {what}" for when, what in sorted(told)]
        return "\n".join(lines)

    def when_killed(self, pods: set[str]) -> CallReport:
        """The report, told which pods were killed without a warning during the call."""
        return replace(self, killed=tuple(sorted(pods)))


def _turn_line(turn: Turn) -> str:
    asked = f"question {turn.question} ({turn.kind}), {turn.asked_end - turn.asked:.2f} s long"
    if turn.latency_s is None:
        return f"{asked}, not answered"
    memory = "" if turn.memory_kept is not False else f", which remembers {turn.remembered} questions"
    return f"{asked}, answered {turn.latency_s:.2f} s after its end, by {turn.pod}{memory}"


@dataclass(frozen=True)
class Latency:
    """Reply latency in seconds."""

    p50: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Latency | None:
        """Percentiles of the values; None if there are none."""
        if not values:
            return None
        p50, p95 = np.percentile(values, [50, 95])
        return cls(float(p50), float(p95), max(values))


@dataclass(frozen=True)
class Summary:
    """All calls of a run together."""

    calls: int
    lost_calls: int
    asked: int
    answered: int
    lost_turns: int
    answered_twice: int
    overlap_ms: float
    overlapped: int
    memory_lost: int
    foreign_answers: int
    disconnects: int
    reconnects: int
    agent_changes: int
    longest_silence_s: float
    longest_stall_s: float
    latency: Latency | None
    ok: bool

    @classmethod
    def of(cls, reports: Sequence[CallReport]) -> Summary:
        """Add up the reports; a run without calls is not ok."""
        return cls(
            calls=len(reports),
            lost_calls=sum(report.lost for report in reports),
            asked=sum(report.asked for report in reports),
            answered=sum(report.answered for report in reports),
            lost_turns=sum(report.lost_turns for report in reports),
            answered_twice=sum(report.answered_twice for report in reports),
            overlap_ms=sum(report.overlap_ms for report in reports),
            overlapped=sum(report.overlapped for report in reports),
            memory_lost=sum(not report.memory_kept for report in reports),
            foreign_answers=sum(report.foreign_answers for report in reports),
            disconnects=sum(report.disconnects for report in reports),
            reconnects=sum(report.reconnects for report in reports),
            agent_changes=sum(report.agent_changes for report in reports),
            longest_silence_s=max((report.longest_silence_s for report in reports), default=0.0),
            longest_stall_s=max((report.longest_stall_s for report in reports), default=0.0),
            latency=Latency.of([value for report in reports for value in report.latencies_s]),
            ok=bool(reports) and all(report.ok for report in reports),
        )


def assert_ok(reports: Sequence[CallReport]) -> None:
    """Hold every call to what its report allows, and print the stories of those that fall short.

    Raises:
        AssertionError: something was wrong with a call.
        StarvedError: the same, but the machine stood still in between, or a caller's process died.
    """
    summary = Summary.of(reports)
    if summary.ok:
        return
    words = "; ".join(f"call {report.call}: {report.verdict}" for report in reports) or "no calls"
    for report in reports:
        if not report.ok:
            print(report.story)
    if not all(report.measured for report in reports):
        raise StarvedError(f"no processor for {summary.longest_stall_s:.1f} s; {words}")
    raise AssertionError(words)
