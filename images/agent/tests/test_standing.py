"""What the keepers tell a pod of itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from voice_agent.worker import standing as standing_module
from voice_agent.worker.standing import Standing


class Keeper:
    """Answers what a test puts in, and tells when it was asked again."""

    def __init__(self) -> None:
        self.answer: dict[str, Any] = {"closed": False}
        self.asked = asyncio.Event()
        self.url = ""

    async def until_asked_twice(self) -> None:
        for _ in range(2):
            self.asked.clear()
            await asyncio.wait_for(self.asked.wait(), 10)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async def tell(_: web.Request) -> web.Response:
            self.asked.set()
            return web.json_response(self.answer)

        app = web.Application()
        app.add_routes([web.get("/v1/pods/pod-1", tell)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield
        finally:
            await runner.cleanup()


@pytest.fixture
async def keeper(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Keeper]:
    monkeypatch.setattr(standing_module, "ASK_SECONDS", 0.05)
    running = Keeper()
    async with running.serving():
        yield running


async def test_a_pod_that_is_deleted_hears_how_long_it_has(keeper: Keeper) -> None:
    told: asyncio.Queue[float] = asyncio.Queue()
    async with Standing(keeper.url, "pod-1", lambda: "", told.put_nowait).watching():
        keeper.answer = {"closed": False, "deletion": {"grace_seconds": 25, "seconds_left": 24}}

        assert 23 < await asyncio.wait_for(told.get(), 10) <= 24
        # The API server's figure is rounded; later answers do not move the moment.
        keeper.answer = {"closed": False, "deletion": {"grace_seconds": 25, "seconds_left": 5}}
        await asyncio.wait_for(told.get(), 10)
        assert await asyncio.wait_for(told.get(), 10) > 10


async def _first_told(keeper: Keeper, *, known: bool, seconds_left: float) -> float:
    """How long a pod believes it has: with 60 s of grace, after two answers that tell of no deletion."""
    keeper.answer = {"closed": False, "deletion": None, "known": known}
    told: asyncio.Queue[float] = asyncio.Queue()
    async with Standing(keeper.url, "pod-1", lambda: "", told.put_nowait).watching():
        await keeper.until_asked_twice()
        deletion = {"grace_seconds": 60, "seconds_left": seconds_left}
        keeper.answer = {"closed": False, "deletion": deletion, "known": True}
        return await asyncio.wait_for(told.get(), 10)


@pytest.mark.parametrize("seconds_left", [-100, 500], ids=["ahead", "behind"])
async def test_a_keepers_clock_that_is_wrong_does_not_matter(keeper: Keeper, seconds_left: float) -> None:
    assert 40 < await _first_told(keeper, known=True, seconds_left=seconds_left) <= 60


async def test_a_keeper_that_did_not_know_has_not_seen_the_pod_undeleted(keeper: Keeper) -> None:
    assert await _first_told(keeper, known=False, seconds_left=5) <= 5


async def test_a_grace_that_is_shortened_later_counts_from_then(keeper: Keeper) -> None:
    """The kubelet begins anew; the API server's time of deletion may be over already."""
    told: asyncio.Queue[float] = asyncio.Queue()
    async with Standing(keeper.url, "pod-1", lambda: "", told.put_nowait).watching():
        keeper.answer = {"closed": False, "deletion": {"grace_seconds": 600, "seconds_left": 500}}
        assert await asyncio.wait_for(told.get(), 10) > 400
        keeper.answer = {"closed": False, "deletion": {"grace_seconds": 25, "seconds_left": -75}}
        async with asyncio.timeout(10):
            while (left := await told.get()) > 400:
                pass

    assert 20 < left < 25


async def test_a_pod_that_nobody_deletes_hears_nothing(keeper: Keeper) -> None:
    told: list[float] = []
    keeper.answer = {"closed": True, "deletion": None}
    async with Standing(keeper.url, "pod-1", lambda: "", told.append).watching():
        await keeper.until_asked_twice()

    assert not told


async def test_a_pod_can_ask_at_this_moment_and_stays_as_it_was_without_an_answer(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_module, "ASK_SECONDS", 600)
    standing = Standing(keeper.url, "pod-1", lambda: "", lambda _: None)
    async with standing.watching():
        await asyncio.wait_for(keeper.asked.wait(), 10)
        keeper.answer = {"closed": True}
        assert await standing.ask_now()
        assert standing.closed
        keeper.answer = {"closed": "of no use"}
        assert await standing.ask_now()
