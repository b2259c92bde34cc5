"""What the two agents of a handover say to each other."""

from __future__ import annotations

import asyncio
from typing import Annotated

from livekit import rtc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from voice_agent.call.absence import participant_in
from voice_agent.call.snapshot import CallIdentity

MEET = "voice-agent.meet"
TAKE = "voice-agent.take"
TAKEN = "voice-agent.taken"
ALIVE = "voice-agent.alive"
"""Asked of the successor before the call is its: the room shows an agent whose process died for some 20 s more."""

STATE_TOPIC = "voice-agent.state"
"""The byte stream with the state: an RPC's answer holds 15 kB by LiveKit's documentation, a long call's state more."""

KNOWN_WITHIN_SECONDS = 5.0
# LiveKit's client takes the longest way to the other off what it is given.
_RPC_SECONDS = 10.0


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")


class Greeting(_Frozen):
    """The successor's part of every request."""

    nonce: str


class Introduction(_Frozen):
    """The answer to `meet`: what the successor needs to make the same agent."""

    call: CallIdentity
    agent: str
    """`package.module:Class` of the active agent."""
    dispatch: str
    """The dispatch that brought the predecessor, to be deleted when it has left."""


class Condition(_Frozen):
    """The answer to `alive`."""

    starved: bool = False
    """Whether the successor waits too long for a processor; see `calm.Watch`."""


class State(_Frozen):
    """What the predecessor sends once its model is held; over the byte stream."""

    snapshot: Annotated[bytes, Field(repr=False)]
    """`Snapshot.encode()`."""
    silent_for: float
    """Seconds from the last of the caller's audio in the snapshot to the sending of this: clocks may differ."""


async def departure(room: rtc.Room, identity: str) -> None:
    """Wait until the participant is not in the room."""
    left = asyncio.Event()

    def check(_: rtc.RemoteParticipant | None = None) -> None:
        if identity not in room.remote_participants:
            left.set()

    room.on("participant_disconnected", check)
    try:
        check()
        await left.wait()
    finally:
        room.off("participant_disconnected", check)


async def is_agent(room: rtc.Room, identity: str) -> bool:
    """Whether the participant is an agent by its token's kind, which a caller cannot choose."""
    # A request can overtake the news of who has come.
    participant = await participant_in(room, identity, KNOWN_WITHIN_SECONDS)
    return participant is not None and participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT


async def condition(room: rtc.Room, identity: str, seconds: float) -> Condition | None:
    """How a successor's process fares; None if it does not answer in time.

    One of another release that knows no such question, or answers otherwise, fares well.
    """
    try:
        async with asyncio.timeout(seconds):
            answer = await room.local_participant.perform_rpc(
                destination_identity=identity, method=ALIVE, payload="", response_timeout=_RPC_SECONDS
            )
    except TimeoutError:
        return None
    except rtc.RpcError as error:
        return Condition() if error.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD else None
    try:
        return Condition.model_validate_json(answer)
    except ValidationError:
        return Condition()
