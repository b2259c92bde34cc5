"""A keeper with a shared store goes on without it, and never behind what it has given out."""

from __future__ import annotations

import asyncio

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
