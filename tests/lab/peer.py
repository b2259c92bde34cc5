"""A participant who speaks the handover's protocol by hand: a successor that dies, a caller who pries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from livekit import api, rtc
from livekit.protocol import models

from lab.livekit import LiveKit


@asynccontextmanager
async def participant(
    livekit: LiveKit, room: str, identity: str, kind: Literal["standard", "agent"] = "standard"
) -> AsyncIterator[rtc.Room]:
    """In the room as long as the context lasts."""
    token = api.AccessToken(livekit.key, livekit.secret).with_identity(identity).with_kind(kind)
    token = token.with_grants(api.VideoGrants(room_join=True, room=room))
    joined = rtc.Room()
    await joined.connect(livekit.url, token.to_jwt())
    # The data channel opens with its first use, which takes seconds.
    await joined.local_participant.publish_data(b"", topic="lab.open")
    try:
        yield joined
    finally:
        await joined.disconnect()


async def called_for(livekit: LiveKit, room: str) -> tuple[str, str]:
    """Wait until an agent in the room calls for a successor; its identity, and the nonce of its dispatch."""
    while True:
        for dispatch in await dispatches(livekit, room):
            if dispatch.metadata:
                asked = json.loads(dispatch.metadata)["voice-agent"]
                return asked["predecessor"], asked["nonce"]
        await asyncio.sleep(0.05)


async def dispatches(livekit: LiveKit, room: str) -> list[api.AgentDispatch]:
    """The room's dispatch records; none of a room that is gone, of which no server answers."""
    async with api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client:
        try:
            return await client.agent_dispatch.list_dispatch(room)
        except api.TwirpError as error:
            if error.code != api.TwirpErrorCode.UNAVAILABLE:
                raise
            return []


async def dispatch(livekit: LiveKit, room: str, agent_name: str) -> None:
    """Send an agent to the room as LiveKit does by itself: with nothing to tell that the call had one before."""
    async with api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client:
        await client.agent_dispatch.create_dispatch(api.CreateAgentDispatchRequest(agent_name=agent_name, room=room))


async def agents(livekit: LiveKit, room: str) -> list[str]:
    """Identities of the agents in the room."""
    async with api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client:
        people = await client.room.list_participants(api.ListParticipantsRequest(room=room))
    return [person.identity for person in people.participants if person.kind == models.ParticipantInfo.Kind.AGENT]


async def remove_agents(livekit: LiveKit, room: str) -> None:
    """Remove the agents from the room: LiveKit itself takes some 20 s to notice that one is dead."""
    async with api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client:
        for identity in await agents(livekit, room):
            await client.room.remove_participant(api.RoomParticipantIdentity(room=room, identity=identity))


async def ask(room: rtc.Room, destination: str, method: str, nonce: str, seconds: float = 20) -> str:
    """One request of a successor."""
    return await room.local_participant.perform_rpc(
        destination_identity=destination, method=method, payload=f'{{"nonce": "{nonce}"}}', response_timeout=seconds
    )
