"""Whether anything comes from LiveKit, by what its client counts and if the server answers; both are the test's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import cast

import pytest
from aiohttp import web
from livekit import rtc
from livekit.agents.utils.aio import cancel_and_wait
from livekit.rtc._proto.stats_pb2 import RtcStats

from voice_agent.call import reception
from voice_agent.call.datagrams import Datagrams
from voice_agent.call.reception import LOOKS, Reception


class Server:
    """LiveKit's HTTP, which answers, or keeps whoever asks waiting."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.answers = asyncio.Event()

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.answers.wait()
        return web.Response(status=404)


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    """One that answers, and a room that is looked at without a pause."""
    monkeypatch.setattr(reception, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(reception, "LOOK_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(reception, "ANSWERS_WITHIN_SECONDS", 60.0)
    monkeypatch.setenv("NO_PROXY", "*")
    server = Server()
    server.answers.set()
    application = web.Application()
    application.router.add_get("/", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"ws://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        server.answers.set()
        await runner.cleanup()


class Room:
    """A room whose connections have received so much at each look, and nothing more after the last; None is no answer.

    What is received are packets of the one connection, and signs of life of the other.
    """

    def __init__(self, packets: Iterable[int | None], signs: Iterable[int] = (0,)) -> None:
        self._packets, self._signs = list(packets), list(signs)
        self.looks = 0

    async def get_rtc_stats(self) -> SimpleNamespace:
        # As the client's answer does, it comes from another thread.
        await asyncio.sleep(0)
        packets = self._packets[min(self.looks, len(self._packets) - 1)]
        signs = self._signs[min(self.looks, len(self._signs) - 1)]
        self.looks += 1
        if packets is None:
            raise RuntimeError("the room isn't connected")
        publisher, subscriber, codec = RtcStats(), RtcStats(), RtcStats()
        publisher.candidate_pair.candidate_pair.packets_received = packets
        subscriber.candidate_pair.candidate_pair.requests_received = signs
        codec.codec.rtc.id = "opus"
        return SimpleNamespace(publisher_stats=[codec, publisher], subscriber_stats=[subscriber])


def listening(room: Room, server: Server) -> Reception:
    return Reception(cast(rtc.Room, room), server.url)


async def test_reception_is_lost_after_looks_that_saw_nothing_new(server: Server) -> None:
    room = Room([1, 2, 3])

    await asyncio.wait_for(listening(room, server).lost(), 5)

    assert room.looks == 3 + LOOKS


async def test_a_look_does_not_wait_for_its_time_when_datagrams_have_ceased(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(reception, "LOOK_SECONDS", 3600.0)
    monkeypatch.setattr(Datagrams, "ceased", lambda *_, **__: True)

    await asyncio.wait_for(listening(Room([1, 2, 3]), server).lost(), 5)


@pytest.mark.parametrize(
    ("packets", "signs"),
    [
        (range(1000), [0]),
        ([7], range(1000)),
        ([look // LOOKS for look in range(1000)], [0]),
        ([None], [0]),
    ],
    ids=["packets", "signs-of-life", "now-and-then", "unknown"],
)
async def test_it_is_not_lost_while_something_comes_or_nothing_is_known(
    server: Server, packets: Iterable[int | None], signs: Iterable[int]
) -> None:
    room = Room(packets, signs)
    looking = asyncio.create_task(listening(room, server).lost())
    while room.looks < 100 and not looking.done():  # noqa: ASYNC110 - the room is asked without a pause
        await asyncio.sleep(0)

    assert not looking.done()
    await cancel_and_wait(looking)


@pytest.mark.parametrize("url", ["", "ws://127.0.0.1:9"], ids=["no-answer", "refused"])
async def test_it_is_lost_as_soon_as_the_server_does_not_answer_either(
    monkeypatch: pytest.MonkeyPatch, server: Server, url: str
) -> None:
    monkeypatch.setattr(reception, "LOOKS", 10**9)
    monkeypatch.setattr(reception, "ANSWERS_WITHIN_SECONDS", 0.5)
    server.url = url or server.url
    server.answers.clear()
    began = time.monotonic()

    await asyncio.wait_for(listening(Room([1]), server).lost(), 20)

    assert time.monotonic() - began >= 0.5, "a refusal is no answer, and may not last"


async def test_of_a_server_that_answers_looks_alone_decide_and_it_is_not_asked_again_at_once(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    monkeypatch.setattr(reception, "LOOKS", 10**9)
    room = Room([1])
    listens = listening(room, server)
    for _ in range(2):
        looking = asyncio.create_task(listens.lost())
        until, room.looks = room.looks + 200, 0
        async with asyncio.timeout(20):
            while not server.asked or room.looks < until:  # noqa: ASYNC110 - the room is asked without a pause
                await asyncio.sleep(0)
        assert not looking.done()
        await cancel_and_wait(looking)

    assert server.asked == 1


async def test_it_is_back_when_something_comes_and_not_when_nothing_is_known(server: Server) -> None:
    room = Room([*[5] * (LOOKS + 1), None, 5, 0, 1])
    listens = listening(room, server)
    await asyncio.wait_for(listens.lost(), 5)

    await asyncio.wait_for(listens.back(), 5)

    assert room.looks == LOOKS + 5, "the client had given a connection up"
