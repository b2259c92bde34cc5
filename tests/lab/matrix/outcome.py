"""From what the callers of one disrupted fleet reported to the figures of the matrix: pure functions.

Definitions, besides those of ``lab.callers.measure``:
    struck call: a call that a struck pod served when the disruption began, or whose agent changed after it.
    added delay: of a struck call, the latency of the first answer by another agent; if none changed, of the first turn
        that ended after the disruption; less the median latency of all turns that ended before it.
    answered again: of a struck call whose agent died, the time from its death to the first sound of another agent, less
        what the caller spoke in between.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import median
from typing import Any

from lab.callers import CallReport, Turn
from lab.matrix.scene import Effect

_AT_MOST = ("overlap_ms", "moves")


@dataclass(frozen=True)
class Outcome:
    """One disruption, or several of the same kind together.

    Attributes:
        trials: how many disruptions.
        calls: calls that were live, added up over the trials.
        struck: of them, those that were concerned.
        lost_calls: calls that ended without their callers' will.
        asked: turns of all calls.
        lost_turns: turns without an answer in time.
        twice: answers beyond the first of a question.
        overlap_ms: the longest time in which two agents of one call were audible at once.
        forgot: calls whose agents' memory was not kept.
        moves: how often the agent of a call changed, at the most.
        added_delay_s: added delays, see above.
        again_s: times until answered again, see above.
        silence_s: the longest unexplained silence of each struck call.
        gone_s: from each pod's notice to its end.
        restarted: containers restarted in pods that were not struck.
        busy: the share of the machine's processors that was in use, 0 to 1, of each trial.
        findings: what was wrong, in words.
    """

    trials: int = 0
    calls: int = 0
    struck: int = 0
    lost_calls: int = 0
    asked: int = 0
    lost_turns: int = 0
    twice: int = 0
    overlap_ms: float = 0.0
    forgot: int = 0
    moves: int = 0
    added_delay_s: tuple[float, ...] = ()
    again_s: tuple[float, ...] = ()
    silence_s: tuple[float, ...] = ()
    gone_s: tuple[float, ...] = ()
    restarted: int = 0
    busy: tuple[float, ...] = ()
    findings: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        reports: Sequence[CallReport],
        effect: Effect,
        gone_s: Mapping[str, float],
        restarted: int = 0,
        busy: Sequence[float] = (),
    ) -> Outcome:
        """What one disruption came to.

        Args:
            reports: of every call.
            effect: the disruption.
            gone_s: of each pod that went, seconds from its notice to its end.
            restarted: containers restarted in pods that were not struck.
            busy: the share of the machine that was in use, if it is known.
        """
        usual = [
            turn.latency_s
            for report in reports
            for turn in report.turns
            if turn.latency_s is not None and turn.answered is not None and turn.answered <= effect.began
        ]
        baseline = median(usual) if usual else 0.0
        struck = [report for report in reports if _is_struck(report, effect)]
        delays = [delay for report in struck if (delay := _added_delay(report, effect.began, baseline)) is not None]
        again = [
            wait for report in struck if effect.killed and (wait := _answered_again(report, effect.began)) is not None
        ]
        return cls(
            trials=1,
            calls=len(reports),
            struck=len(struck),
            lost_calls=sum(report.lost for report in reports),
            asked=sum(report.asked for report in reports),
            lost_turns=sum(report.lost_turns for report in reports),
            twice=sum(report.answered_twice for report in reports),
            overlap_ms=max((report.overlap_ms for report in reports), default=0.0),
            forgot=sum(not report.memory_kept for report in reports),
            moves=max((report.agent_changes for report in reports), default=0),
            added_delay_s=tuple(delays),
            again_s=tuple(again),
            silence_s=tuple(report.longest_silence_s for report in struck),
            gone_s=tuple(seconds for pod, seconds in gone_s.items() if pod in effect.gone),
            restarted=restarted,
            busy=tuple(busy),
            findings=tuple(
                f"call {report.call}: {', '.join(report.findings)}" for report in reports if report.findings
            ),
        )

    @classmethod
    def together(cls, outcomes: Iterable[Outcome]) -> Outcome:
        """Several of one kind: counts are added up, times put side by side, the most and the longest stay."""
        total: dict[str, Any] = {each.name: each.default for each in fields(cls)}
        for outcome in outcomes:
            for name, value in total.items():
                added = getattr(outcome, name)
                total[name] = max(value, added) if name in _AT_MOST else value + added
        return cls(**total)


def _is_struck(report: CallReport, effect: Effect) -> bool:
    before = _agent_before(report, effect.began)
    pod = next((stay.pod for stay in report.agents if stay.agent == before), "")
    changed = any(turn.agent not in ("", before) for turn in report.turns if turn.asked_end > effect.began)
    return pod in effect.struck or changed


def _agent_before(report: CallReport, moment: float) -> str:
    """Who had answered last."""
    answered = [turn for turn in report.turns if turn.answered is not None and turn.answered <= moment]
    return answered[-1].agent if answered else ""


def _added_delay(report: CallReport, began: float, baseline: float) -> float | None:
    before = _agent_before(report, began)
    after: list[Turn] = [turn for turn in report.turns if turn.answered is not None and turn.answered > began]
    first = next((turn for turn in after if turn.agent != before), after[0] if after else None)
    return None if first is None or first.latency_s is None else first.latency_s - baseline


def _answered_again(report: CallReport, died: float) -> float | None:
    before = _agent_before(report, died)
    sounds = sorted(sound.start for sound in report.sounds if sound.agent != before and sound.start > died)
    if not sounds:
        return None
    heard = sounds[0]
    spoke_until = [turn.asked_end for turn in report.turns if died < turn.asked_end <= heard]
    return heard - max([died, *spoke_until])
