"""Call slots: the load that is reported, and that no slot is given twice."""

from __future__ import annotations

import asyncio

import pytest

from voice_agent.worker.slots import FULL_THRESHOLD, NoFreeSlotError, Slots


@pytest.mark.parametrize("total", [1, 2, 4, 7, 100])
def test_load_is_below_the_threshold_until_the_last_slot_is_taken(total: int) -> None:
    running: dict[str, str] = {}
    slots = Slots(total, lambda: running)
    loads = []
    for call in range(total):
        loads.append(slots.load)
        running[f"job-{call}"] = f"call-{call}"

    assert loads == sorted(loads)
    assert max(loads) < FULL_THRESHOLD
    assert slots.load >= FULL_THRESHOLD


def test_a_promised_slot_counts_before_the_call_runs() -> None:
    slots = Slots(1, dict)

    with slots.promise("job", "call"):
        assert slots.taken == 1
        assert slots.load >= FULL_THRESHOLD


def test_a_call_that_is_promised_and_runs_counts_once() -> None:
    running: dict[str, str] = {}
    slots = Slots(2, lambda: running)

    with slots.promise("job", "call"):
        running["job"] = "call"
        assert slots.taken == 1
    assert slots.taken == 1


def test_two_agents_that_are_sent_to_one_call_take_one_slot() -> None:
    running = {"job-1": "another"}
    slots = Slots(2, lambda: running)

    with slots.promise("job-2", "call"):
        with pytest.raises(NoFreeSlotError), slots.promise("job-3", "a third"):
            pass
        with slots.promise("job-3", "call"):
            running["job-3"] = "call"
            assert slots.taken == 2
        assert slots.taken == 2
        with pytest.raises(NoFreeSlotError), slots.promise("job-4", "call"):
            pass
    assert slots.taken == 2
    del running["job-3"]
    assert slots.taken == 1


def test_a_promise_that_comes_to_nothing_frees_its_slot() -> None:
    slots = Slots(1, dict)

    with pytest.raises(TimeoutError), slots.promise("job", "call"):
        raise TimeoutError("LiveKit did not assign the call")

    assert slots.taken == 0


async def test_calls_that_come_at_once_get_no_more_than_the_slots() -> None:
    running: dict[str, str] = {}
    slots = Slots(3, lambda: running)

    async def ring(call: str) -> bool:
        try:
            with slots.promise(f"job of {call}", call):
                await asyncio.sleep(0)
                running[f"job of {call}"] = call
        except NoFreeSlotError:
            return False
        return True

    taken = await asyncio.gather(*(ring(f"call-{n}") for n in range(10)))

    assert sum(taken) == 3
    assert len(running) == 3
