"""A caller who is away for a moment, as one whose client makes its connection anew.

A client that changes networks, or whose media failed, may leave the room and join it again (livekit-client's full
reconnect): LiveKit then tells that the participant left of its own accord, as of one who has hung up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from livekit import rtc

RETURNS_WITHIN_SECONDS = 3.0
"""A full reconnect takes some tenths of a second, and more where the network is slow."""

# As livekit-agents 1.8.9 has it, voice/room_io/types.py; with any other reason it goes on.
_HUNG_UP = frozenset(
    {
        rtc.DisconnectReason.CLIENT_INITIATED,
        rtc.DisconnectReason.ROOM_DELETED,
        rtc.DisconnectReason.USER_REJECTED,
    }
)


async def participant_in(room: rtc.Room, identity: str, within: float) -> rtc.RemoteParticipant | None:
    """The participant, who may come within so many seconds; None if not."""
    came = asyncio.Event()

    def connected(participant: rtc.RemoteParticipant) -> None:
        if participant.identity == identity:
            came.set()

    room.on("participant_connected", connected)
    try:
        if identity not in room.remote_participants:
            async with asyncio.timeout(within):
                await came.wait()
    except TimeoutError:
        return None
    finally:
        room.off("participant_connected", connected)
    return room.remote_participants.get(identity)


async def caller_in(room: rtc.Room, caller: str) -> rtc.RemoteParticipant | None:
    """The caller, who may be away for a moment; None if they do not come back."""
    return await participant_in(room, caller, RETURNS_WITHIN_SECONDS)


class Absence:
    """Tells when the caller has hung up.

    Args:
        room: of the call.
        caller: the caller's identity.
        hung_up: called once when the caller has left and does not come back.
    """

    def __init__(self, room: rtc.Room, caller: str, hung_up: Callable[[], None]) -> None:
        self._room = room
        self._caller = caller
        self._hung_up = hung_up
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch; who has left already is waited for."""
        self._room.on("participant_disconnected", self._on_left)
        if self._caller not in self._room.remote_participants:
            self._waiting = asyncio.create_task(self._wait(), name="wait for the caller to return")

    async def aclose(self) -> None:
        """Watch no longer."""
        self._room.off("participant_disconnected", self._on_left)
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.wait([self._waiting])

    def _on_left(self, participant: rtc.RemoteParticipant) -> None:
        reason = participant.disconnect_reason
        if participant.identity != self._caller or reason not in _HUNG_UP:
            return
        may_return = (
            reason == rtc.DisconnectReason.CLIENT_INITIATED
            # LiveKit's SIP service leaves when the telephone call is over.
            and participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_SIP
        )
        if not may_return:
            self._hung_up()
        elif self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._wait(), name="wait for the caller to return")

    async def _wait(self) -> None:
        if await caller_in(self._room, self._caller) is None:
            self._hung_up()
