"""The matrix as a table for people: Markdown, a line for each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lab.matrix.outcome import Outcome
from lab.matrix.rows import MATRIX, Promise

_HEAD = (
    "disruption", "times", "calls", "struck", "calls lost", "turns lost", "answered twice", "two agents at once (ms)",
    "memory lost", "added delay (s)", "answered again (s)", "longest silence (s)", "pod gone (s)",
)  # fmt: skip

_LOSE_NO_TURN = (Promise.PLANNED, Promise.MODEL, Promise.UNTOUCHED)
_TIMES = {
    Promise.PLANNED: "Planned rows, added reply delay",
    Promise.DEATH: "After a death, answered again",
    Promise.NODE: "After silence, answered again",
}


def spread(values: Sequence[float]) -> str:
    """Median, 95th percentile and maximum; a dash without values."""
    if not values:
        return "-"
    p50, p95 = np.percentile(values, [50, 95])
    return f"{p50:.2f} / {p95:.2f} / {max(values):.2f}"


def line(title: str, outcome: Outcome) -> str:
    """One row."""
    cells = (
        title, outcome.trials, outcome.calls, outcome.struck, outcome.lost_calls,
        f"{outcome.lost_turns} of {outcome.asked}", outcome.twice, f"{outcome.overlap_ms:.0f}", outcome.forgot,
        *(spread(times) for times in (outcome.added_delay_s, outcome.again_s, outcome.silence_s, outcome.gone_s)),
    )  # fmt: skip
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def table(outcomes: Mapping[str, Outcome]) -> str:
    """All rows, in the matrix' order, and their sum; times as median / 95th percentile / maximum."""
    rows = [line(row.title, outcomes[name]) for name, row in MATRIX.items() if name in outcomes]
    rows.append(line("**all**", Outcome.together(outcomes.values())))
    return "\n".join([f"| {' | '.join(_HEAD)} |", f"|{'---|' * len(_HEAD)}", *rows])


def verdicts(outcomes: Mapping[str, Outcome], *, promised: bool = True) -> list[str]:
    """What came of the promises, or only of the calls where nothing was promised; a sentence each."""
    everything = Outcome.together(outcomes.values())
    said = [f"{everything.lost_calls} of {everything.calls} call-disruptions lost a call; {_bound(everything)}."]
    if promised:
        spared = Outcome.together(o for name, o in outcomes.items() if MATRIX[name].promise in _LOSE_NO_TURN)
        said.append(f"Turns lost in rows that may lose none: {spared.lost_turns} of {spared.asked}.")
        for promise, what in _TIMES.items():
            rows = {
                MATRIX[name].title: promise.times(o) for name, o in outcomes.items() if MATRIX[name].promise is promise
            }
            times = [seconds for row in rows.values() for seconds in row]
            limit = promise.within_s or 0.0
            said.append(f"{what}: {spread(times)} s; promised p95 below {limit:.2f} s.{_above(rows, limit)}")
    said.append(f"Share of the machine in use during a trial: {spread(everything.busy)}.")
    return said


def _above(rows: Mapping[str, Sequence[float]], limit: float) -> str:
    """The rows whose own 95th percentile is not below what is promised of all of their kind, in words."""
    own = {title: np.percentile(times, 95) for title, times in rows.items() if times}
    late = [f"{title} ({seconds:.2f})" for title, seconds in own.items() if seconds >= limit]
    return f" Rows that are above by themselves: {', '.join(late)}." if late else ""


def _bound(outcome: Outcome) -> str:
    if outcome.lost_calls or not outcome.struck:
        # Of these some may be lost besides, as where Gemini fails for all.
        return f"{outcome.struck} were struck"
    # Zero events in n trials: the 95 % upper bound solves (1 - p)^n = 0.05.
    bound = 1 - 0.05 ** (1 / outcome.struck)
    return f"with {outcome.struck} of them struck, the 95 % bound of the loss is {100 * bound:.2f} %"
