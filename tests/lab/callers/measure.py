"""From what one caller noticed to what is reported: pure functions on events.

Definitions:
    lost turn: a question that no ANSWER frame was recognised for within the plan's timeout; an answer that comes later
        does not undo it.
    lost call: the room was disconnected, the caller's process died, no question was ever answered, or the call does
        not answer any more: its last question is lost and either no agent is left or the caller gave up.
    unexplained silence: a stretch in which neither the caller nor any agent sounds, while an answer is owed (from the
        end of a question to the first audio of its answer, the timeout, or the end of the call), or which lies inside
        one agent's sound, between a question and the next.
    overlap: time in which more than one agent track carries sound.
    memory: an answer's ``turns`` equals the number of questions asked so far; questions that were lost may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lab.callers.events import (
    AgentJoined,
    AgentLeft,
    AgentNamed,
    Asked,
    Disconnected,
    Event,
    Finished,
    Heard,
    Joined,
    Lost,
    Sound,
)
from lab.callers.speech import UNKNOWN_TURNS
from lab.signals import Kind

# Each track has a jitter buffer of its own: edges of two tracks are comparable to within about this much.
OVERLAP_TOLERANCE_MS = 100.0


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
        remembered: user turns that the answer says the conversation holds.
        memory_kept: whether ``remembered`` is right; None without an answer, or with one in words.
        pod: who answered.
    """

    question: int
    kind: str
    asked: float
    asked_end: float
    answered: float | None = None
    latency_s: float | None = None
    answers: int = 0
    remembered: int | None = None
    memory_kept: bool | None = None
    pod: str = ""

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


@dataclass(frozen=True)
class AgentStay:
    """An agent's stay in the room; ``left`` is None if it outlasted the call."""

    agent: str
    pod: str
    joined: float
    left: float | None


@dataclass(frozen=True)
class CallReport:
    """One call as its caller lived it."""

    call: int
    started: float
    ended: float
    turns: tuple[Turn, ...]
    sounds: tuple[AgentSound, ...]
    agents: tuple[AgentStay, ...]
    lost: bool
    ending: str
    disconnects: int
    longest_silence_s: float
    overlap_ms: float
    foreign_answers: int

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
    def findings(self) -> list[str]:
        """What was wrong with the call, in words; empty if it was as it should be."""
        found = []
        if self.lost:
            found.append(f"call lost ({self.ending})")
        if self.lost_turns:
            found.append(f"{self.lost_turns} lost")
        if self.answered_twice:
            found.append(f"{self.answered_twice} answered twice")
        if self.overlap_ms > OVERLAP_TOLERANCE_MS:
            found.append(f"agents overlapped {self.overlap_ms:.0f} ms")
        if not self.memory_kept:
            found.append("memory lost")
        if self.foreign_answers:
            found.append(f"{self.foreign_answers} answers of other calls")
        return found

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong."""
        return not self.findings


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
    memory_lost: int
    foreign_answers: int
    disconnects: int
    longest_silence_s: float
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
            memory_lost=sum(not report.memory_kept for report in reports),
            foreign_answers=sum(report.foreign_answers for report in reports),
            disconnects=sum(report.disconnects for report in reports),
            longest_silence_s=max((report.longest_silence_s for report in reports), default=0.0),
            latency=Latency.of([value for report in reports for value in report.latencies_s]),
            ok=bool(reports) and all(report.ok for report in reports),
        )


@dataclass
class _Reading:
    """A call's events, sorted by what they are."""

    asked: list[Asked] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    lost: dict[int, float] = field(default_factory=dict)
    pods: dict[str, str] = field(default_factory=dict)
    stays: list[AgentStay] = field(default_factory=list)
    disconnects: int = 0
    ending: str = "its process died"

    def pod(self, agent: str) -> str:
        """The agent's pod, else its identity."""
        return self.pods.get(agent) or agent


def measure(call: int, events: Sequence[Event]) -> CallReport:
    """Report on a call from the events that its caller wrote."""
    reading = _read(events)
    started = next((event.time for event in events if isinstance(event, Joined)), None)
    times = [event.time for event in events]
    started = started if started is not None else min(times, default=0.0)
    ended = max(
        [*times, *(sound.end for sound in reading.sounds), *(asked.end for asked in reading.asked)], default=0.0
    )
    mine = [heard for heard in reading.heard if heard.kind == Kind.ANSWER and heard.call == call]
    turns = _turns(reading, mine)
    return CallReport(
        call=call,
        started=started,
        ended=ended,
        turns=turns,
        sounds=tuple(
            AgentSound(sound.time, sound.end, reading.pod(sound.agent))
            for sound in sorted(reading.sounds, key=lambda sound: sound.time)
        ),
        agents=tuple(AgentStay(s.agent, reading.pod(s.agent), s.joined, s.left) for s in reading.stays),
        lost=_is_lost(reading, turns),
        ending=reading.ending,
        disconnects=reading.disconnects,
        longest_silence_s=_longest_silence(turns, reading, ended),
        overlap_ms=_overlap_s(reading.sounds) * 1000,
        foreign_answers=sum(heard.kind == Kind.ANSWER and heard.call != call for heard in reading.heard),
    )


def _read(events: Sequence[Event]) -> _Reading:
    reading = _Reading()
    for event in events:
        match event:
            case Asked():
                reading.asked.append(event)
            case Heard():
                reading.heard.append(event)
            case Sound():
                reading.sounds.append(event)
            case Lost():
                reading.lost[event.question] = event.time
            case AgentJoined():
                reading.stays.append(AgentStay(event.agent, "", event.time, None))
                if event.pod:
                    reading.pods[event.agent] = event.pod
            case AgentNamed():
                reading.pods[event.agent] = event.pod
            case AgentLeft():
                reading.stays = [
                    AgentStay(s.agent, s.pod, s.joined, event.time) if s.agent == event.agent and s.left is None else s
                    for s in reading.stays
                ]
            case Disconnected():
                reading.disconnects += 1
                reading.ending = f"disconnected: {event.reason}"
            case Finished():
                if not reading.disconnects:
                    reading.ending = event.reason
    return reading


def _turns(reading: _Reading, answers: Sequence[Heard]) -> tuple[Turn, ...]:
    turns: list[Turn] = []
    answered = 0
    for number, asked in enumerate(reading.asked, start=1):
        # A frame carries a byte: question 257 is question 1 again, long after the first.
        found = [
            heard
            for heard in answers
            if heard.question == asked.question % 256 and 0 <= _index_after(reading.asked, heard) - number < 128
        ]
        found.sort(key=lambda heard: heard.time)
        turn = Turn(asked.question, Kind(asked.kind).name, asked.time, asked.end, answers=len(found))
        if found and asked.question not in reading.lost:
            answered += 1
            first = found[0]
            # Lost questions may or may not have reached the model: both counts are then right.
            kept = any(first.turns == count % 256 for count in range(answered, number + 1))
            told = first.turns != UNKNOWN_TURNS
            turn = Turn(
                asked.question,
                turn.kind,
                asked.time,
                asked.end,
                answered=first.time,
                latency_s=first.time - asked.end,
                answers=len(found),
                remembered=first.turns if told else None,
                memory_kept=kept if told else None,
                pod=reading.pod(first.agent),
            )
        turns.append(turn)
    return tuple(turns)


def _index_after(asked: Sequence[Asked], heard: Heard) -> int:
    """How many questions had begun when the frame ended."""
    return sum(question.time <= heard.end for question in asked)


def _is_lost(reading: _Reading, turns: Sequence[Turn]) -> bool:
    if reading.disconnects or reading.ending == "its process died":
        return True
    if not any(not turn.lost for turn in turns):
        return True
    nobody = all(stay.left is not None for stay in reading.stays)
    return turns[-1].lost and (nobody or reading.ending == "given up")


def _overlap_s(sounds: Sequence[Sound]) -> float:
    edges = sorted(
        [(sound.time, 1) for sound in sounds] + [(sound.end, -1) for sound in sounds],
        # At the same instant the end comes first: a hand-over without a gap is no overlap.
        key=lambda edge: (edge[0], edge[1]),
    )
    total, active, since = 0.0, 0, 0.0
    for time, step in edges:
        if active > 1:
            total += time - since
        active, since = active + step, time
    return total


def _longest_silence(turns: Sequence[Turn], reading: _Reading, ended: float) -> float:
    longest = 0.0
    agents = sorted((sound.time, sound.end) for sound in reading.sounds)
    for index, turn in enumerate(turns):
        following = turns[index + 1].asked if index + 1 < len(turns) else ended
        owed_until = turn.answered if turn.answered is not None else following
        longest = max(longest, _longest_gap(agents, turn.asked_end, owed_until))
        if turn.answered is not None:
            rest = [(start, end) for start, end in agents if turn.answered - 0.1 <= start < following]
            if rest:
                longest = max(longest, _longest_gap(rest, turn.answered, max(start for start, _ in rest)))
    return longest


def _longest_gap(sounds: Sequence[tuple[float, float]], start: float, end: float) -> float:
    """The longest stretch from ``start`` to ``end`` that no sound covers; ``sounds`` are sorted."""
    longest, quiet_since = 0.0, start
    for begin, finish in sounds:
        if finish <= start:
            continue
        if begin >= end:
            break
        longest = max(longest, begin - quiet_since)
        quiet_since = max(quiet_since, finish)
    return max(longest, end - quiet_since)
