"""What a keeper asks the others: whether one of them leads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from voice_agent.keeper import peers
from voice_agent.keeper.peers import REACH_PATH, SEEN_PATH, OtherKeepers, Seen

OWN = "127.0.0.9"
OURS = f"http://{OWN}:8090"
# Nobody listens there.
REFUSES = "http://127.0.0.1:9"


@asynccontextmanager
async def a_keeper(*, leading: bool = False, reaches: bool | None = None, status: int = 200) -> AsyncIterator[str]:
    """A keeper, of a release that tells nothing of LiveKit if `reaches` is None."""

    async def seen(_: web.Request) -> web.Response:
        told = Seen(settled=True, calls=frozenset(), leading=leading)
        return web.json_response(text=told.model_dump_json(), status=status)

    async def reach(_: web.Request) -> web.Response:
        return web.json_response({"livekit": reaches}, status=status)

    app = web.Application()
    app.add_routes([web.get(SEEN_PATH, seen)])
    if reaches is not None:
        app.add_routes([web.get(REACH_PATH, reach)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def others(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> OtherKeepers:
    async def resolve(_: str) -> frozenset[str]:
        return frozenset(addresses)

    monkeypatch.setattr(peers, "addresses_of", resolve)
    return OtherKeepers("http://keepers:8090", OWN, lambda: "token")


async def another_leads(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> bool | None:
    return await others(monkeypatch, *addresses).leads()


async def test_the_only_keeper_knows_that_no_other_one_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await another_leads(monkeypatch, OURS) is False


@pytest.mark.parametrize("leading", [True, False])
async def test_a_keeper_says_whether_it_leads(monkeypatch: pytest.MonkeyPatch, leading: bool) -> None:
    async with a_keeper(leading=leading) as other:
        assert await another_leads(monkeypatch, OURS, other, REFUSES) is leading


async def test_of_a_keeper_that_does_not_say_it_cannot_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_keeper(leading=False, status=503) as other:
        assert await another_leads(monkeypatch, OURS, other) is None


async def test_a_dns_that_does_not_know_this_keeper_does_not_tell_that_no_other_one_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert await another_leads(monkeypatch) is None
    assert await another_leads(monkeypatch, REFUSES) is None


async def test_a_keeper_says_whether_it_reaches_livekit(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        a_keeper(reaches=True) as near,
        a_keeper(reaches=False) as far,
        a_keeper(reaches=True, status=503) as ill,
        a_keeper() as old,
    ):
        assert await others(monkeypatch, OURS, far, near).reach_livekit()
        assert not await others(monkeypatch, OURS, far, ill, old, REFUSES).reach_livekit()
        assert not await others(monkeypatch, near.replace("127.0.0.1", OWN)).reach_livekit()


async def test_the_word_of_a_keeper_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    silent = await asyncio.start_server(hang, "127.0.0.1", 0)
    gone = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    async with a_keeper(reaches=True) as near, silent:
        monkeypatch.setattr(peers, "_REACHES_WITHIN_SECONDS", 60)
        assert await asyncio.wait_for(others(monkeypatch, OURS, gone, near).reach_livekit(), 30)
        monkeypatch.setattr(peers, "_REACHES_WITHIN_SECONDS", 0.1)
        assert not await asyncio.wait_for(others(monkeypatch, OURS, gone).reach_livekit(), 30)
