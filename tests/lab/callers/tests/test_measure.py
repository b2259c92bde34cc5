"""Every fault that a caller can suffer must be seen in the report."""

from __future__ import annotations

import dataclasses

import pytest

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
    parse,
)
from lab.callers.fleet import TurnCount
from lab.callers.measure import measure
from lab.callers.results import CallReport, StarvedError, Summary, assert_ok
from lab.signals import UNCLEAR_CALL, Kind

CALL = 3


def asked(question: int, at: float) -> Asked:
    return Asked(at, at + 0.72, question, Kind.ASK)


def answer(question: int, at: float, turns: int | None = None, agent: str = "a", call: int = CALL) -> list[Event]:
    remembered = question if turns is None else turns
    return [
        Heard(at, at + 0.72, agent, Kind.ANSWER, call, question % 256, remembered % 256),
        Sound(at, at + 1.2, agent, f"track-{agent}"),
    ]


def call_of(*events: Event | list[Event], ending: str = "told to stop") -> CallReport:
    flat = [event for item in events for event in (item if isinstance(item, list) else [item])]
    end = max(event.time for event in flat) + 2
    return measure(CALL, [Joined(0.0), AgentJoined(0.5, "a", "pod-a"), *flat, Finished(end, ending)])


def test_a_good_call_has_no_findings() -> None:
    report = call_of(asked(1, 10.0), answer(1, 11.12), asked(2, 14.0), answer(2, 15.32))

    assert report.ok, report.findings
    assert (report.asked, report.answered, report.pods) == (2, 2, ["pod-a"])
    assert report.latencies_s == pytest.approx([0.4, 0.6])
    assert report.longest_silence_s == pytest.approx(0.6)
    assert report.overlap_ms == 0
    summary = Summary.of([report])
    assert summary.ok
    assert summary.latency is not None
    assert summary.latency.p50 == pytest.approx(0.5)
    assert summary.latency.max == pytest.approx(0.6)


def test_a_lost_turn_is_seen_even_if_its_answer_comes_late() -> None:
    report = call_of(
        asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), Lost(20.72, 2), answer(2, 21.0), asked(3, 24.0), answer(3, 25.0)
    )

    assert [turn.lost for turn in report.turns] == [False, True, False]
    assert report.lost_turns == 1
    assert not report.lost
    assert not report.ok
    assert Summary.of([report]).lost_turns == 1


def test_silence_while_an_answer_is_owed_is_unexplained() -> None:
    report = call_of(asked(1, 0.0), answer(1, 9.0), asked(2, 50.0), answer(2, 51.0))

    # From 0.72 to 9; the caller's own long pause from 10.2 to 50 is nobody's fault.
    assert report.longest_silence_s == pytest.approx(8.28)


def test_silence_within_an_answer_is_unexplained() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), Sound(6.2, 7.0, "a", "track-a"), asked(2, 9.0), answer(2, 10.0))

    assert report.longest_silence_s == pytest.approx(4.0)


def test_sound_that_answers_nothing_interrupts_the_silence() -> None:
    report = call_of(asked(1, 0.0), Sound(4.0, 5.0, "a", "track-a"), answer(1, 9.0))

    assert report.longest_silence_s == pytest.approx(4.0)


def test_a_call_that_its_room_dropped_is_lost() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), Disconnected(4.0, "SERVER_SHUTDOWN"), ending="disconnected")

    assert report.lost
    assert "SERVER_SHUTDOWN" in report.findings[0]
    assert Summary.of([report]).lost_calls == 1


def test_a_call_without_an_agent_at_its_end_is_lost() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), AgentLeft(3.0, "a"), asked(2, 5.0), Lost(20.0, 2))

    assert report.lost
    assert report.agents[0].left == 3.0


def test_a_call_that_recovers_is_not_lost() -> None:
    report = call_of(
        asked(1, 0.0),
        answer(1, 1.0),
        AgentLeft(3.0, "a"),
        asked(2, 5.0),
        Lost(20.0, 2),
        AgentJoined(21.0, "b"),
        AgentNamed(21.1, "b", "pod-b"),
        asked(3, 23.0),
        answer(3, 24.0, agent="b"),
    )

    assert not report.lost
    assert report.lost_turns == 1
    assert report.pods == ["pod-a", "pod-b"]


def test_a_call_given_up_is_lost_though_an_agent_sits_in_the_room() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), Lost(20.0, 2), ending="given up")

    assert report.lost


def test_a_call_never_answered_is_lost() -> None:
    assert call_of(asked(1, 0.0), Lost(15.0, 1)).lost
    assert measure(CALL, [Joined(0.0), Finished(30.0, "no agent")]).lost
    assert measure(CALL, []).lost


def test_a_caller_whose_process_died_lost_its_call() -> None:
    report = measure(CALL, [Joined(0.0), AgentJoined(0.1, "a"), asked(1, 1.0), *answer(1, 2.0)])

    assert report.lost
    assert "died" in report.findings[0]


def test_a_caller_whose_own_code_failed_lost_its_call_however_good_it_was_until_then() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), ending="the caller failed: OSError()")

    assert report.lost
    assert "OSError" in report.findings[0]


def test_an_answer_heard_twice_is_seen() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), answer(1, 4.0, agent="b"), asked(2, 6.0), answer(2, 7.0))

    assert report.answered_twice == 1
    assert report.overlap_ms == 0
    assert not report.ok


def test_an_answer_that_its_agent_died_in_may_be_given_once_more_by_another() -> None:
    first, died = [asked(1, 0.0), *answer(1, 1.0)], AgentLeft(3.0, "a")
    again = [AgentJoined(3.5, "b", "pod-b"), *answer(1, 4.0, agent="b")]
    cut_off = call_of(first, died, again, asked(2, 6.0), answer(2, 7.0, agent="b"))
    wrong = {
        "by itself": call_of(first, answer(1, 4.0), died, asked(2, 6.0), answer(2, 7.0, agent="b")),
        "thrice": call_of(first, died, again, answer(1, 6.0, agent="b")),
        "beside it": call_of(first, again, AgentLeft(5.5, "a"), asked(2, 6.0), answer(2, 7.0, agent="b")),
        "late": call_of(
            first, died, asked(2, 3.0), answer(2, 4.0, agent="b"), asked(3, 6.0), answer(1, 8.0, agent="b")
        ),
        "two": call_of(
            [*first, died, *again, asked(2, 6.0), *answer(2, 7.0, agent="b"), AgentLeft(8.5, "b")],
            answer(2, 9.0, agent="c"),
        ),
    }

    assert cut_off.when_killed({"pod-a"}).ok
    assert cut_off.when_killed({"pod-a"}).verdict == "ok, an answer begun anew (question 1)"
    assert not cut_off.when_killed({"pod-b"}).ok
    for name, report in wrong.items():
        assert not report.when_killed({"pod-a", "pod-b"}).ok, name


def test_two_agents_at_once_are_seen() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), Sound(1.5, 4.0, "b", "track-b"), asked(2, 6.0), answer(2, 7.0))

    assert report.overlap_ms == pytest.approx(700)
    assert report.findings == ["agents overlapped 700 ms"]


def test_a_conversation_that_began_anew_is_seen() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), answer(2, 6.0, turns=1, agent="b"))

    assert not report.memory_kept
    assert Summary.of([report]).memory_lost == 1
    assert not Summary.of([report]).ok


@pytest.mark.parametrize(("turns", "kept"), [(1, False), (2, True), (3, True), (4, False)])
def test_a_lost_question_may_be_missing_from_memory_and_nothing_else(turns: int, kept: bool) -> None:
    report = call_of(
        asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), Lost(20.0, 2), asked(3, 21.0), answer(3, 22.0, turns)
    )

    assert report.turns[2].memory_kept is kept


def test_a_broken_connection_a_starved_caller_and_a_change_of_agents_are_told_and_lose_nothing() -> None:
    report = call_of(
        asked(1, 0.0),
        answer(1, 1.0),
        Reconnecting(3.0),
        Stalled(4.0, 4.9),
        asked(2, 5.0),
        answer(2, 6.0, agent="b"),
        asked(3, 8.0),
        answer(3, 9.0, agent="b"),
    )

    assert report.ok, report.findings
    assert (report.reconnects, report.agent_changes) == (1, 1)
    assert report.longest_stall_s == pytest.approx(0.9)
    assert Summary.of([report, call_of(asked(1, 0.0), answer(1, 1.0))]).longest_stall_s == pytest.approx(0.9)


def test_turns_are_counted_beyond_what_a_frame_can_number() -> None:
    count = TurnCount(CALL)
    for question in range(1, 301):
        for event in [asked(question, question * 5.0), *answer(question, question * 5.0 + 1)]:
            count.take(event)

    assert (len(count.answered), count.ended) == (300, 300)


def test_an_answer_that_comes_too_late_is_no_second_turn() -> None:
    count = TurnCount(CALL)
    for event in [asked(1, 0.0), Lost(15.7, 1), *answer(1, 16.0), asked(2, 17.0), *answer(2, 18.0)]:
        count.take(event)

    assert (count.answered, count.lost, count.ended) == ({2}, {1}, 2)


def test_an_answer_meant_for_another_call_is_seen() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), answer(2, 6.0, call=CALL + 1), Lost(20.0, 2))

    assert report.foreign == ((CALL + 1, 2),)
    assert report.foreign_answers == 1
    assert report.lost_turns == 1


def test_words_that_were_not_understood_are_told_and_belong_to_no_other_call() -> None:
    report = call_of(asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), answer(0, 6.0, call=UNCLEAR_CALL), Lost(10.0, 2))

    assert not report.foreign
    assert report.findings == ["1 lost (question 2)", "1 not understood"]


def test_where_an_agent_was_killed_the_turn_under_way_may_be_lost_and_nothing_else() -> None:
    one: list[Event | list[Event]]
    one = [asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), Lost(20.0, 2), asked(3, 21.0), answer(3, 22.0, agent="b")]
    report = call_of(*one)
    more = call_of(*one, asked(4, 25.0), Lost(40.0, 4), asked(5, 41.0), answer(5, 42.0, agent="b"))
    forgotten = call_of(*one, asked(4, 25.0), answer(4, 26.0, turns=1, agent="b"))

    assert not report.ok
    assert not report.when_killed({"pod-z"}).ok
    assert report.when_killed({"pod-a"}).ok
    assert report.when_killed({"pod-a"}).verdict == "ok, 1 lost (question 2)"
    assert not more.when_killed({"pod-a"}).ok
    assert not forgotten.when_killed({"pod-a"}).ok


def test_a_turn_may_be_lost_with_an_agent_that_had_the_call_and_not_with_one_that_waited_for_it() -> None:
    comes, goes = AgentJoined(3.0, "b", "pod-b"), AgentLeft(4.0, "a")
    lost = [asked(2, 5.0), Lost(20.0, 2), AgentJoined(21.0, "c", "pod-c"), asked(3, 22.0)]
    had_it = call_of(asked(1, 0.6), answer(1, 1.6), comes, goes, *lost, answer(3, 23.0, agent="c"))
    waited = call_of(asked(1, 0.6), answer(1, 1.6), comes, *lost, answer(3, 23.0))

    assert had_it.when_killed({"pod-b"}).ok, "though it has not answered"
    assert not waited.when_killed({"pod-b"}).ok


def test_a_machine_that_stood_still_is_told_apart_from_a_fault() -> None:
    lost = call_of(asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), Lost(20.0, 2))
    with pytest.raises(AssertionError, match="question 2"):
        assert_ok([lost])
    with pytest.raises(StarvedError, match=r"1\.9 s.*question 2"):
        assert_ok([dataclasses.replace(lost, longest_stall_s=1.9)])
    assert_ok([dataclasses.replace(lost, longest_stall_s=1.9).when_killed({"pod-a"})])
    with pytest.raises(AssertionError):
        assert_ok([])


def test_a_failure_tells_what_happened_in_the_calls_that_fell_short(capsys: pytest.CaptureFixture[str]) -> None:
    good = call_of(asked(1, 0.0), answer(1, 1.0))
    bad = dataclasses.replace(call_of(asked(1, 0.0), answer(1, 1.0), asked(2, 5.0), Lost(20.0, 2)), call=7)
    with pytest.raises(AssertionError):
        assert_ok([good, bad])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "call 7: 1 lost (question 2)"
    assert [line for line in told if "question 1 (ASK)" in line and "by pod-a" in line]
    assert [line for line in told if "question 2 (ASK)" in line and line.endswith("not answered")]


def test_question_numbers_that_repeat_after_256_are_told_apart() -> None:
    events: list[Event] = []
    for question in range(1, 301):
        events += [asked(question, question * 5.0), *answer(question, question * 5.0 + 1)]

    report = call_of(events)

    assert report.ok, report.findings
    assert report.answered == 300


def test_events_survive_their_line() -> None:
    for event in [asked(1, 1.5), *answer(1, 2.5), Lost(3.0, 1), Disconnected(4.0, "x"), AgentNamed(5.0, "a", "p")]:
        assert parse(event.to_json()) == event
    assert parse("libwebrtc: something") is None
    assert parse('{"type": "result"}') is None


def test_a_run_without_calls_is_not_ok() -> None:
    assert not Summary.of([]).ok
    good = call_of(asked(1, 0.0), answer(1, 1.0))
    assert not Summary.of([good, dataclasses.replace(good, lost=True)]).ok
