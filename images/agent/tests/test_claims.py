"""What a new agent asks the keepers before it takes a call: who has it, and the next epoch."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from voice_agent.state.store import Snapshot, Stamp
from voice_agent.tether import ask as asking
from voice_agent.tether import wire
from voice_agent.tether.ask import Keepers
from voice_agent.tether.wire import Epoch

from .noting_keeper import CALL, SECRET, Keeper, keeper, tether


def ask(*keepers: Keeper | str) -> Keepers:
    return Keepers(",".join(each if isinstance(each, str) else each.url for each in keepers), lambda: SECRET)


@asynccontextmanager
async def a_server_that_never_answers() -> AsyncIterator[str]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def test_a_new_call_is_known_to_nobody() -> None:
    async with keeper() as one, keeper() as two:
        assert await ask(one, two).epoch(CALL.call) == Epoch(epoch=0, held=False)


async def test_of_a_call_that_had_an_agent_the_next_epoch_is_claimed_once() -> None:
    async with keeper() as one, keeper() as two:
        await one.store.put(CALL.call, Snapshot(Stamp(1, 1), b"sealed"))
        await two.store.claim(CALL.call, above=2)
        keepers = ask(one, two)
        assert await keepers.epoch(CALL.call) == Epoch(epoch=3, held=False)
        claims = await asyncio.gather(keepers.claim(CALL.call, above=3), keepers.claim(CALL.call, above=3))
        assert sorted(claim.epoch for claim in claims) == [4, 5]
        # What the agent before still writes is refused.
        assert not await one.store.put(CALL.call, Snapshot(Stamp(3, 9), b"late"))


async def test_a_call_that_an_agent_has_cannot_be_claimed() -> None:
    async with keeper() as one, keeper() as two, tether(one.url):
        await one.told("call", 1)
        assert await ask(one, two).epoch(CALL.call) == Epoch(epoch=1, held=True)
        assert await ask(one).claim(CALL.call, above=1) == Epoch(epoch=1, held=True)
        assert await one.store.get(CALL.call) is None


async def test_who_has_claimed_from_one_keeper_is_not_told_that_another_agent_has_the_call() -> None:
    async with keeper() as one, keeper() as two, tether(one.url):
        await one.told("call", 1)
        # Else nobody would have it: the one that is tethered is superseded.
        assert await ask(one, two).claim(CALL.call, above=1) == Epoch(epoch=2, held=False)


async def test_only_the_keeper_that_has_a_call_taken_up_gives_it_to_who_was_called_by_the_lost_agent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with keeper() as one, keeper() as leader, a_server_that_never_answers() as deaf:
        keepers = ask(one, leader, deaf)
        await leader.store.claim(CALL.call, above=1)
        monkeypatch.setattr(asking, "LOST_WITHIN_SECONDS", 0.2)
        async with asyncio.timeout(60):
            assert await keepers.claim_lost(CALL.call, above=1) is None
        leader.lost = True
        monkeypatch.setattr(asking, "LOST_WITHIN_SECONDS", 600.0)
        async with asyncio.timeout(60):
            # Above the one that it sends.
            assert await keepers.claim_lost(CALL.call, above=1) == 3
        assert await one.store.get(CALL.call) is None


async def test_a_keeper_that_has_no_epoch_for_its_own_agent_yet_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "LOST_WITHIN_SECONDS", 60.0)
    async with keeper() as leader:
        leader.lost = True
        await leader.store.put(CALL.call, Snapshot(Stamp(1, 1), b"sealed"))
        # Its own would be the higher one, and this one's be told to leave.
        assert await ask(leader).claim_lost(CALL.call, above=1) is None
        await leader.store.claim(CALL.call, above=1)
        assert await ask(leader).claim_lost(CALL.call, above=1) == 3


async def test_a_call_that_an_agent_has_is_not_lost_whatever_its_keeper_is_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asking, "LOST_WITHIN_SECONDS", 60.0)
    async with keeper() as watching, tether(watching.url):
        await watching.told("call", 1)
        watching.lost = True
        assert await ask(watching).claim_lost(CALL.call, above=1) is None


async def test_a_keeper_that_knows_no_lost_calls_gives_none() -> None:
    async with TestServer(web.Application()) as older:
        assert await ask(str(older.make_url("")).rstrip("/")).claim_lost(CALL.call, above=1) is None


async def test_an_agent_without_an_errand_is_told_how_many_have_died_of_the_call() -> None:
    async with keeper() as watching:
        watching.deaths = 3
        assert await ask(watching).claim(CALL.call, above=4) == Epoch(epoch=5, held=False, died=3)


async def test_a_keeper_that_does_not_answer_delays_no_new_call() -> None:
    loop = asyncio.get_running_loop()
    async with keeper() as watching, a_server_that_never_answers() as deaf:
        began = loop.time()
        assert (await ask(deaf).epoch(CALL.call)).epoch == 0
        alone = loop.time() - began
        began = loop.time()
        assert (await ask(deaf, watching).epoch(CALL.call)).epoch == 0
        assert loop.time() - began < alone


@pytest.mark.parametrize("path", [wire.EPOCH_PATH, wire.LOST_PATH])
@pytest.mark.parametrize("above", ["", "-1", "many", str(2**53)])
async def test_a_wrong_claim_is_refused(above: str, path: str) -> None:
    async with keeper() as watching, aiohttp.ClientSession(headers={"Authorization": f"Bearer {SECRET}"}) as session:
        watching.lost = True
        params = {"call": CALL.call, "above": above}
        async with session.post(f"{watching.url}{path}", params=params) as answer:
            assert answer.status == 400
        assert await watching.store.get(CALL.call) is None


@pytest.mark.parametrize("path", [wire.EPOCH_PATH, wire.LOST_PATH])
async def test_nobody_but_the_fleet_claims(path: str) -> None:
    async with keeper() as watching, aiohttp.ClientSession() as session:
        watching.lost = True
        async with session.post(f"{watching.url}{path}", params={"call": CALL.call, "above": "1"}) as answer:
            assert answer.status == 403
        assert await watching.store.get(CALL.call) is None
