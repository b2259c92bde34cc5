"""What is done after a connection has ended."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.genai.errors import APIError

from voice_agent.gemini.recovery import Ending, Recovery, Step


def closed(code: int, *, at_setup: bool = False) -> Ending:
    return Ending.of(APIError(code, {"message": "closed"}), at_setup=at_setup)


class Answer(NamedTuple):
    """The metadata server's, as google-auth keeps it."""

    status: int


def no_token(cause: Exception) -> Exception:
    error = RefreshError(cause)  # type: ignore[no-untyped-call]
    error.__cause__ = cause
    return error


class Clock:
    """Time that passes when told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recovery(clock: Clock) -> Recovery:
    recovery = Recovery(30, clock)
    recovery.connected()
    return recovery


@pytest.mark.parametrize("code", [1000, 1006, 1008, 1011])
def test_the_first_ending_of_a_session_is_followed_at_once(recovery: Recovery, code: int) -> None:
    assert recovery.after(closed(code), with_handle=True) == Step()


def test_the_service_is_not_stormed_when_it_is_away(recovery: Recovery) -> None:
    away = Ending.of(ConnectionRefusedError(), at_setup=True)
    assert [recovery.after(away, with_handle=True).delay_s for _ in range(5)] == [0.2, 0.4, 0.8, 1, 1]


def test_patience_ends(recovery: Recovery, clock: Clock) -> None:
    away = Ending.of(ConnectionRefusedError(), at_setup=True)
    assert not recovery.after(away, with_handle=True).give_up
    clock.now += 29
    assert not recovery.after(away, with_handle=True).give_up
    clock.now += 2
    assert recovery.after(away, with_handle=True).give_up


def test_an_answer_restores_patience(recovery: Recovery, clock: Clock) -> None:
    recovery.after(closed(1011), with_handle=True)
    recovery.progress()
    clock.now += 31
    assert recovery.after(closed(1011), with_handle=True) == Step()


@pytest.mark.parametrize(("code", "tries"), [(1007, 2), (1008, 2), (1011, 6)])
def test_a_handle_that_stays_refused_is_dropped(recovery: Recovery, code: int, tries: int) -> None:
    steps = [recovery.after(closed(code, at_setup=True), with_handle=True) for _ in range(tries)]
    assert [step.drop_handle for step in steps] == [False] * (tries - 1) + [True]


def test_a_context_that_is_full_is_not_restored(recovery: Recovery) -> None:
    limits: list[int | None] = []
    while not recovery.after(closed(1007), with_handle=not limits).give_up:
        limits.append(recovery.history_limit)
    assert limits == [40, 10, 0]


@pytest.mark.parametrize("code", [401, 1008])
def test_a_wrong_key_ends_the_call_at_its_beginning(clock: Clock, code: int) -> None:
    assert Recovery(30, clock).after(closed(code, at_setup=True), with_handle=False).give_up


def test_a_notice_costs_nothing(recovery: Recovery) -> None:
    for _ in range(100):
        assert recovery.after(Ending("goaway", planned=True), with_handle=True) == Step()
    assert recovery.failures == 0


@pytest.mark.parametrize(
    ("ending", "refused"),
    [
        (closed(1007, at_setup=True), True),
        (closed(1008, at_setup=True), True),
        (closed(403, at_setup=True), True),
        (closed(1011, at_setup=True), False),
        (closed(1008), False),
        (closed(1007), False),
        (Ending.of(ConnectionRefusedError(), at_setup=True), False),
        (Ending.of(DefaultCredentialsError(), at_setup=True), True),  # type: ignore[no-untyped-call]
        (Ending.of(RefreshError(), at_setup=True), True),  # type: ignore[no-untyped-call]
        (Ending.of(no_token(TransportError("nobody answers")), at_setup=True), False),  # type: ignore[no-untyped-call]
        (Ending.of(no_token(TransportError("503", Answer(503))), at_setup=True), False),  # type: ignore[no-untyped-call]
        (Ending.of(no_token(TransportError("403", Answer(403))), at_setup=True), True),  # type: ignore[no-untyped-call]
    ],
)
def test_a_refusal_is_what_would_have_no_session_at_all(ending: Ending, refused: bool) -> None:
    assert ending.refused is refused


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "Permission denied: Consumer 'api_key:AIzaSyD-0123456789_abcdefg' has been suspended.",
            "(a key)",
        ),
        ("Consumer 'api_key:AQ.Ab8RN6' has been suspended.", "(a key)"),
        ("key AQ.Ab8RN6KdZk3w_4pQ7xN2vT5 is blocked", "(a key)"),
        ("key=AIzaSyD-0123456789_abcdefg", "(a key)"),
        ("models/gemini-live is not found for API version v1beta", "gemini-live is not found"),
    ],
)
def test_no_key_is_told(said: str, told: str) -> None:
    words = Ending.of(APIError(1008, {"message": said}), at_setup=True).words
    assert told in words
    assert "AIza" not in words
    assert "AQ." not in words
