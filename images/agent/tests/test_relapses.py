"""Calls that lose one agent after another are not sent the next at once."""

from __future__ import annotations

from voice_agent.keeper.relapses import LASTS_SECONDS, Relapses


class Clock:
    """Time, told by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_two_deaths_in_a_row_wait_for_nothing_and_more_each_longer() -> None:
    clock = Clock()
    relapses = Relapses(clock)
    pauses = []
    for _ in range(8):
        pauses.append(relapses.pause("room/sid"))
        clock.now += pauses[-1] + 1.0
        relapses.recovered("room/sid")
        clock.now += 2.0
    assert pauses == [0, 0, 1, 2, 4, 8, 10, 10]
    assert relapses.pause("another/sid") == 0


def test_an_agent_that_stays_ends_it() -> None:
    clock = Clock()
    relapses = Relapses(clock)
    for _ in range(5):
        relapses.recovered("room/sid")
        clock.now += 1.0
    assert relapses.pause("room/sid") > 0
    clock.now += LASTS_SECONDS
    assert relapses.pause("room/sid") == 0
    relapses.recovered("room/sid")
    assert relapses.pause("room/sid") == 0
