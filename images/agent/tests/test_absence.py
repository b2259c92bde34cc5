"""Whether a caller who left has hung up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from voice_agent.call import absence
from voice_agent.call.absence import Absence, caller_in

STANDARD = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
SIP = rtc.ParticipantKind.PARTICIPANT_KIND_SIP
LEFT = rtc.DisconnectReason.CLIENT_INITIATED


class Room:
    """A room with a caller."""

    def __init__(self) -> None:
        self.remote_participants = {"caller": self._person("caller")}
        self._listening: dict[str, list[Callable[[Any], None]]] = {}

    def on(self, event: str, listener: Callable[[Any], None]) -> None:
        self._listening.setdefault(event, []).append(listener)

    def off(self, event: str, listener: Callable[[Any], None]) -> None:
        self._listening[event].remove(listener)

    def _person(self, identity: str, reason: Any = None, kind: Any = STANDARD) -> SimpleNamespace:
        return SimpleNamespace(identity=identity, disconnect_reason=reason, kind=kind)

    def leave(self, identity: str = "caller", reason: Any = LEFT, kind: Any = STANDARD) -> None:
        self.remote_participants.pop(identity, None)
        self._tell("participant_disconnected", self._person(identity, reason, kind))

    def join(self, identity: str = "caller") -> None:
        self.remote_participants[identity] = self._person(identity)
        self._tell("participant_connected", self.remote_participants[identity])

    def _tell(self, event: str, person: SimpleNamespace) -> None:
        for listener in list(self._listening.get(event, [])):
            listener(person)


@asynccontextmanager
async def watched(room: Room) -> AsyncIterator[asyncio.Event]:
    """Whether the caller has hung up."""
    hung_up = asyncio.Event()
    watching = Absence(cast("rtc.Room", room), "caller", hung_up.set)
    watching.start()
    yield hung_up
    await watching.aclose()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody who is away is waited for."""
    monkeypatch.setattr(absence, "RETURNS_WITHIN_SECONDS", 0.0)


async def test_a_caller_who_comes_back_has_not_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absence, "RETURNS_WITHIN_SECONDS", 60.0)
    room = Room()
    async with watched(room) as hung_up:
        room.leave()
        await asyncio.sleep(0)
        room.join("somebody else")
        room.join()
        assert await caller_in(cast("rtc.Room", room), "caller") is not None
        monkeypatch.setattr(absence, "RETURNS_WITHIN_SECONDS", 0.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not hung_up.is_set()
        room.leave()
        async with asyncio.timeout(10):
            await hung_up.wait()


@pytest.mark.usefixtures("at_once")
async def test_a_caller_who_left_before_anybody_looked_has_hung_up() -> None:
    room = Room()
    room.leave()
    async with watched(room) as hung_up, asyncio.timeout(10):
        await hung_up.wait()


@pytest.mark.usefixtures("at_once")
async def test_a_caller_who_does_not_come_back_has_hung_up() -> None:
    room = Room()
    async with watched(room) as hung_up, asyncio.timeout(10):
        room.leave()
        await hung_up.wait()
    assert await caller_in(cast("rtc.Room", room), "caller") is None


@pytest.mark.parametrize(
    ("reason", "kind", "over"),
    [
        (rtc.DisconnectReason.ROOM_DELETED, STANDARD, True),
        (rtc.DisconnectReason.USER_REJECTED, SIP, True),
        (LEFT, SIP, True),
        (LEFT, STANDARD, False),
    ],
)
async def test_who_cannot_come_back_is_not_waited_for(reason: Any, kind: Any, over: bool) -> None:
    room = Room()
    async with watched(room) as hung_up:
        room.leave("somebody else", rtc.DisconnectReason.ROOM_DELETED)
        assert not hung_up.is_set()
        room.leave(reason=reason, kind=kind)
        assert hung_up.is_set() is over


@pytest.mark.usefixtures("at_once")
async def test_a_caller_whose_connection_was_lost_is_livekits_to_wait_for() -> None:
    room = Room()
    async with watched(room) as hung_up:
        room.leave(reason=rtc.DisconnectReason.SIGNAL_CLOSE)
        await asyncio.sleep(0.05)
        assert not hung_up.is_set()
