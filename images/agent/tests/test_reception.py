"""Whether anything comes from LiveKit, by what its client counts; the room is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import cast

import pytest
from livekit import rtc
from livekit.rtc._proto.stats_pb2 import RtcStats

from voice_agent.call import reception
from voice_agent.call.reception import LOOKS, Reception


class Room:
    """A room whose connections have received so much at each look, and nothing more after the last; None is no answer.

    What is received are packets of the one connection, and signs of life of the other.
    """

    def __init__(self, packets: Iterable[int | None], signs: Iterable[int] = (0,)) -> None:
        self._packets, self._signs = list(packets), list(signs)
        self.looks = 0

    async def get_rtc_stats(self) -> SimpleNamespace:
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

    def reception(self) -> Reception:
        return Reception(cast(rtc.Room, self))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(reception, "LOOK_AGAIN_SECONDS", 0.0)


async def test_reception_is_lost_after_looks_that_saw_nothing_new() -> None:
    room = Room([1, 2, 3])

    await asyncio.wait_for(room.reception().lost(), 5)

    assert room.looks == 3 + LOOKS


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
    packets: Iterable[int | None], signs: Iterable[int]
) -> None:
    room = Room(packets, signs)
    looking = asyncio.create_task(room.reception().lost())
    while room.looks < 100 and not looking.done():  # noqa: ASYNC110 - the room is asked without a pause
        await asyncio.sleep(0)

    assert not looking.done()
    looking.cancel()


async def test_it_is_back_when_something_comes_and_not_when_nothing_is_known() -> None:
    room = Room([*[5] * (LOOKS + 1), None, 5, 0, 1])
    listening = room.reception()
    await asyncio.wait_for(listening.lost(), 5)

    await asyncio.wait_for(listening.back(), 5)

    assert room.looks == LOOKS + 5, "the client had given a connection up"
