"""From what one caller noticed to what is reported: pure functions on events.

Definitions:
    lost turn: a question that no ANSWER frame was recognised for within the plan's timeout; an answer that comes later
        does not undo it.
    lost call: the caller did not hang up of its own accord (the room was disconnected, no agent came, it gave up, its
        process failed or died), no question was ever answered, or the last question is lost and no agent is left.
    unexplained silence: a stretch in which neither the caller nor any agent sounds, while an answer is owed (from the
        end of a question to the first audio of its answer, the timeout, or the end of the call), or which lies inside
        one agent's sound, between a question and the next.
    overlap: time in which more than one agent track carries sound.
    memory: an answer's ``turns`` equals the number of questions asked so far; questions that were lost may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

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
    Reconnecting,
    Sound,
    Stalled,
)
from lab.callers.plan import DONE, TOLD_TO_STOP
from lab.callers.results import PROCESS_DIED, AgentSound, AgentStay, CallReport, Turn
from lab.callers.speech import UNKNOWN_TURNS
from lab.signals import UNCLEAR_CALL, Kind


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
    reconnects: int = 0
    stalls: list[float] = field(default_factory=list)
    ending: str = PROCESS_DIED

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
    answers = [heard for heard in reading.heard if heard.kind == Kind.ANSWER]
    mine = [heard for heard in answers if heard.call == call]
    turns = _turns(reading, mine)
    return CallReport(
        call=call,
        started=started,
        ended=ended,
        turns=turns,
        sounds=tuple(
            AgentSound(sound.time, sound.end, reading.pod(sound.agent), sound.agent)
            for sound in sorted(reading.sounds, key=lambda sound: sound.time)
        ),
        agents=tuple(AgentStay(s.agent, reading.pod(s.agent), s.joined, s.left) for s in reading.stays),
        lost=_is_lost(reading, turns),
        ending=reading.ending,
        disconnects=reading.disconnects,
        reconnects=reading.reconnects,
        longest_silence_s=_longest_silence(turns, reading, ended),
        overlap_ms=_overlap_s(reading.sounds) * 1000,
        foreign=tuple(
            (heard.call, heard.question) for heard in answers if heard.call != call and heard.call != UNCLEAR_CALL
        ),
        unclear=sum(heard.call == UNCLEAR_CALL for heard in answers),
        longest_stall_s=max(reading.stalls, default=0.0),
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
            case Reconnecting():
                reading.reconnects += 1
            case Stalled():
                reading.stalls.append(event.end - event.time)
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
        again = _said_again(reading, number, found)
        turn = Turn(asked.question, Kind(asked.kind).name, asked.time, asked.end, answers=len(found), said_again=again)
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
                said_again=again,
                remembered=first.turns if told else None,
                memory_kept=kept if told else None,
                pod=reading.pod(first.agent),
                agent=first.agent,
            )
        turns.append(turn)
    return tuple(turns)


def _said_again(reading: _Reading, number: int, answers: Sequence[Heard]) -> bool:
    """Whether an agent gave the answer once more after the one before had left; ``number`` is the question's."""
    if len(answers) != 2 or answers[0].agent == answers[1].agent:
        return False
    left = [stay.left for stay in reading.stays if stay.agent == answers[0].agent and stay.left is not None]
    gone = bool(left) and max(left) <= answers[1].end
    return gone and _index_after(reading.asked, answers[1]) <= number + 1


def _index_after(asked: Sequence[Asked], heard: Heard) -> int:
    """How many questions had begun when the frame ended."""
    return sum(question.time <= heard.end for question in asked)


def _is_lost(reading: _Reading, turns: Sequence[Turn]) -> bool:
    if reading.disconnects or reading.ending not in (DONE, TOLD_TO_STOP):
        return True
    if not any(not turn.lost for turn in turns):
        return True
    nobody = all(stay.left is not None for stay in reading.stays)
    return turns[-1].lost and nobody


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
