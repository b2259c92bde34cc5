"""The matrix sees what the callers lived through: the canary of every figure in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.callers import CallReport, Turn
from lab.callers.results import AgentSound, AgentStay
from lab.matrix import MATRIX, Outcome, Trial
from lab.matrix.departures import Departures
from lab.matrix.scene import Effect

STRUCK = Effect.told(10.0, {"pod-a"})
DEATH = Effect.died(10.0, {"pod-a"})


def turn(number: int, asked_end: float, latency: float | None, agent: str) -> Turn:
    answered = None if latency is None else asked_end + latency
    return Turn(number, "ASK", asked_end - 1, asked_end, answered, latency, answers=1, memory_kept=True, agent=agent)


def report(*turns: Turn, **values: object) -> CallReport:
    """A call that an agent of pod-a begins and one of pod-b ends."""
    whole = CallReport(
        call=1,
        started=0.0,
        ended=30.0,
        turns=turns,
        sounds=(AgentSound(6.0, 7.0, "pod-a", "a"), AgentSound(13.5, 14.0, "pod-b", "b")),
        agents=(AgentStay("a", "pod-a", 0.0, 10.0), AgentStay("b", "pod-b", 11.0, None)),
        lost=False,
        ending="told to stop",
        disconnects=0,
        reconnects=0,
        longest_silence_s=2.5,
        overlap_ms=0.0,
        foreign=(),
        unclear=0,
        longest_stall_s=0.0,
    )
    return replace(whole, **values)  # type: ignore[arg-type]


CALM = (turn(1, 5.0, 1.0, "a"), turn(2, 8.0, 1.2, "a"))


def test_the_added_delay_is_that_of_the_first_answer_by_another_agent() -> None:
    late = report(*CALM, turn(3, 12.0, 1.0, "a"), turn(4, 15.0, 1.5, "b"), turn(5, 18.0, 9.0, "b"))
    assert Outcome.of([late], STRUCK, {}).added_delay_s == pytest.approx((0.4,))


def test_where_no_agent_changed_the_turn_under_way_tells_the_delay() -> None:
    stayed = report(*CALM, turn(3, 9.5, 2.0, "a"), turn(4, 15.0, 1.0, "a"))
    assert Outcome.of([stayed], STRUCK, {}).added_delay_s == pytest.approx((0.9,))


def test_waiting_begins_with_the_death_or_with_the_end_of_what_the_caller_said_since() -> None:
    silent = report(*CALM, turn(3, 17.0, 1.0, "b"))
    speaking = report(*CALM, turn(3, 12.0, 1.5, "b"))
    outcome = Outcome.of([silent, speaking], DEATH, {})
    assert outcome.again_s == pytest.approx((3.5, 1.5))
    assert Outcome.of([silent], STRUCK, {}).again_s == ()


def test_calls_of_other_pods_are_not_struck() -> None:
    elsewhere = report(*CALM, agents=(AgentStay("a", "pod-c", 0.0, None),))
    outcome = Outcome.of([report(*CALM), elsewhere], STRUCK, {"pod-a": 4.0, "pod-x": 9.0})
    assert (outcome.calls, outcome.struck, outcome.gone_s) == (2, 1, (4.0,))


@pytest.mark.parametrize(
    ("spoiled", "figure"),
    [
        (report(*CALM, lost=True), "lost_calls"),
        (report(*CALM, turn(3, 12.0, None, "")), "lost_turns"),
        (report(*CALM, replace(turn(3, 12.0, 1.0, "b"), answers=2)), "twice"),
        (report(*CALM, replace(turn(3, 12.0, 1.0, "b"), memory_kept=False)), "forgot"),
    ],
)
def test_a_canary_of_each_fault_is_counted_and_breaks_the_promise(spoiled: CallReport, figure: str) -> None:
    good = report(*CALM, turn(3, 12.0, 1.0, "b"))
    outcome = Outcome.of([good, spoiled], STRUCK, {})
    assert getattr(outcome, figure) == 1
    with pytest.raises(AssertionError, match="call 1"):
        Trial(MATRIX["delete"], outcome, [good, spoiled]).check()
    Trial(MATRIX["delete"], Outcome.of([good], STRUCK, {}), [good]).check()


def test_a_container_that_restarts_beside_the_struck_pod_breaks_the_promise() -> None:
    good = report(*CALM, turn(3, 12.0, 1.0, "b"))
    with pytest.raises(AssertionError, match="1 containers restarted"):
        Trial(MATRIX["delete"], Outcome.of([good], STRUCK, {}, restarted=1), [good]).check()


def test_a_call_that_an_upgrade_moves_twice_breaks_the_promise() -> None:
    moved = report(*CALM, turn(3, 12.0, 1.0, "b"), turn(4, 15.0, 1.0, "c"))
    with pytest.raises(AssertionError, match="moved 2 times"):
        Trial(MATRIX["upgrade"], Outcome.of([moved], STRUCK, {}), [moved]).check()


def test_a_disruption_that_concerned_no_call_proves_nothing() -> None:
    with pytest.raises(AssertionError, match="no call was concerned"):
        Trial(MATRIX["delete"], Outcome.of([report(*CALM)], Effect(10.0), {}), [report(*CALM)]).check()


def test_several_trials_add_up() -> None:
    one = Outcome.of([report(*CALM, turn(3, 12.0, 1.0, "b"), overlap_ms=30.0)], STRUCK, {"pod-a": 4.0})
    two = Outcome.of([report(*CALM, turn(3, 12.0, 1.4, "b"), overlap_ms=20.0)], STRUCK, {"pod-a": 5.0})
    both = Outcome.together([one, two])
    assert (both.trials, both.calls, both.struck, both.asked, both.overlap_ms) == (2, 2, 2, 6, 30.0)
    assert both.gone_s == (4.0, 5.0)


def test_a_pods_departure_is_timed_from_its_notice() -> None:
    departures = Departures()
    departures.take("ADDED pod-a ", 1.0)
    departures.take("MODIFIED pod-a 2026-01-01T00:00:00Z", 5.0)
    departures.take("MODIFIED pod-a 2026-01-01T00:00:00Z", 7.0)
    departures.take("DELETED pod-a 2026-01-01T00:00:00Z", 9.5)
    departures.take("DELETED pod-b ", 9.5)
    assert departures.seconds == {"pod-a": 4.5}
