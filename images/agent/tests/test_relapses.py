"""Calls that lose one agent after another are not sent the next at once."""

from __future__ import annotations

from voice_agent.keeper.relapses import LASTS_SECONDS, Relapses


class Clock:
    """Time, told by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def lose(relapses: Relapses, clock: Clock, call: str = "room/sid") -> float:
    """Lose a call's agent and send the next as soon as that is due; returns after how many seconds."""
    lost_at = clock.now
    while not relapses.due(call, lost_at):
        clock.now += 0.5
    waited = clock.now - lost_at
    clock.now += 1.0
    relapses.recovered(call, lost_at)
    return waited


def test_two_deaths_in_a_row_wait_for_nothing_and_more_each_longer() -> None:
    clock = Clock()
    relapses = Relapses(clock)
    waited = []
    for _ in range(8):
        waited.append(lose(relapses, clock))
        clock.now += 2.0
    assert waited == [0, 0, 1, 2, 4, 8, 10, 10]
    assert lose(relapses, clock, "another/sid") == 0


def test_however_many_there_were_the_pause_is_bounded() -> None:
    clock = Clock()
    relapses = Relapses(clock)
    assert [lose(relapses, clock) for _ in range(1100)][-1] == 10


def test_an_agent_that_stays_ends_it() -> None:
    clock = Clock()
    relapses = Relapses(clock)
    for _ in range(5):
        lose(relapses, clock)
    clock.now += LASTS_SECONDS
    assert [lose(relapses, clock), lose(relapses, clock)] == [0, 0]
