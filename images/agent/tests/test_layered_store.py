"""A keeper with a shared store goes on without it, and never behind what it has given out."""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress

import pytest

from voice_agent.state.layered import AWAY_SECONDS, LayeredStore
from voice_agent.state.memory import MemoryStore
from voice_agent.state.store import Kept, Snapshot, Stamp, StoreError

CALL = "RM_1/caller"


class Flaky(MemoryStore):
    """A shared store that can be away, or never answer."""

    fails = False
    hangs = False
    asked = 0

    async def _meet(self) -> None:
        self.asked += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails:
            raise StoreError("refused")

    async def put(self, call: str, snapshot: Snapshot) -> bool:
        await self._meet()
        return await super().put(call, snapshot)

    async def get(self, call: str) -> Kept | None:
        await self._meet()
        return await super().get(call)

    async def claim(self, call: str, above: int = 0) -> int:
        await self._meet()
        return await super().claim(call, above)


def snapshot(epoch: int, sequence: int) -> Snapshot:
    return Snapshot(Stamp(epoch, sequence), b"%d.%d" % (epoch, sequence))


@pytest.fixture
def shared() -> Flaky:
    return Flaky()


@pytest.fixture
def clock() -> list[float]:
    return [100.0]


@pytest.fixture
def store(shared: Flaky, clock: list[float]) -> LayeredStore:
    return LayeredStore(MemoryStore(), shared, lambda: clock[0])


@pytest.mark.parametrize("how", ["fails", "hangs"])
async def test_a_call_is_taken_up_from_memory_while_the_store_is_away(
    store: LayeredStore, shared: Flaky, how: str
) -> None:
    await store.put(CALL, snapshot(1, 5))
    setattr(shared, how, True)
    assert await store.put(CALL, snapshot(1, 6))
    assert await store.get(CALL) == Kept(1, snapshot(1, 6))
    assert await store.claim(CALL) == 2


async def test_a_store_that_does_not_answer_is_not_waited_for_each_time(
    store: LayeredStore, shared: Flaky, clock: list[float]
) -> None:
    shared.hangs = True
    for sequence in range(20):
        await store.put(CALL, snapshot(1, sequence))
    assert shared.asked == 1
    shared.hangs = False
    clock[0] += AWAY_SECONDS
    await store.put(CALL, snapshot(1, 20))
    assert await shared.get(CALL) == Kept(1, snapshot(1, 20))


async def test_what_another_keeper_has_claimed_counts(store: LayeredStore, shared: Flaky) -> None:
    await store.put(CALL, snapshot(1, 5))
    assert await shared.claim(CALL) == 2
    assert not await store.put(CALL, snapshot(1, 6))
    assert (await store.get(CALL)) == Kept(2, snapshot(1, 6))
    assert await store.claim(CALL) == 3


async def test_a_call_whose_caller_may_be_back_is_forgotten_later_by_both(clock: list[float]) -> None:
    own, shared = (MemoryStore(clock=lambda: clock[0]) for _ in range(2))
    store = LayeredStore(own, shared, lambda: clock[0])
    for call, after in (("RM_0/another", 300), (CALL, 30)):
        await store.put(call, snapshot(1, 5))
        assert await store.delete(call, 1, after=after)
    clock[0] += 29
    for each in (own, shared):
        assert await each.get(CALL) == Kept(1, snapshot(1, 5))
    clock[0] += 1
    for each in (own, shared):
        assert await each.get(CALL) is None


async def test_a_store_that_comes_back_empty_gives_no_epoch_twice(
    store: LayeredStore, shared: Flaky, clock: list[float]
) -> None:
    await store.put(CALL, snapshot(1, 5))
    shared.fails = True
    assert await store.claim(CALL) == 2
    shared.fails = False
    await shared.delete(CALL, 9)
    clock[0] += AWAY_SECONDS
    assert not await store.put(CALL, snapshot(1, 6))
    assert await store.claim(CALL) == 3


async def test_calls_that_are_lost_at_once_do_not_wait_for_each_other() -> None:
    class Slow(Flaky):
        def __init__(self) -> None:
            super().__init__()
            self.all_asked = asyncio.Barrier(20)

        async def claim(self, call: str, above: int = 0) -> int:
            await self.all_asked.wait()
            return await super().claim(call, above)

    shared = Slow()
    store = LayeredStore(MemoryStore(), shared)
    calls = [f"RM_{number}/caller" for number in range(20)]
    assert await asyncio.gather(*(store.claim(call) for call in calls)) == [1] * 20
    assert [await shared.get(call) for call in calls] == [Kept(1, None)] * 20


async def test_no_epoch_is_left_out_where_one_call_is_claimed_twice_at_once() -> None:
    """Whichever of the two the shared store would answer first."""

    class LaterFirst(Flaky):
        def __init__(self) -> None:
            super().__init__()
            self.asked_twice = asyncio.Event()

        async def claim(self, call: str, above: int = 0) -> int:
            epoch = await super().claim(call, above)
            if epoch > 1:
                self.asked_twice.set()
                return epoch
            with suppress(TimeoutError):
                async with asyncio.timeout(0.1):
                    await self.asked_twice.wait()
            return epoch

    own, shared = MemoryStore(), LaterFirst()
    store = LayeredStore(own, shared)
    assert list(await asyncio.gather(store.claim(CALL), store.claim(CALL))) == [1, 2]
    assert await own.get(CALL) == await shared.get(CALL) == Kept(2, None)


async def test_claims_that_are_over_take_no_memory() -> None:
    def locks() -> int:
        gc.collect()
        return sum(type(each) is asyncio.Lock for each in gc.get_objects())

    store, before = LayeredStore(MemoryStore(), MemoryStore()), locks()
    for number in range(20):
        await store.claim(f"RM_{number}/caller")
    assert locks() <= before
