"""Who is in a room, as LiveKit's API tells it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import aiohttp
from livekit import api
from livekit.protocol import models

API_ERRORS = (api.TwirpError, aiohttp.ClientError, TimeoutError)


@contextmanager
def unless_gone() -> Iterator[None]:
    """Pass over what LiveKit does not know, or knows no more."""
    try:
        yield
    except api.TwirpError as error:
        if error.code != api.TwirpErrorCode.NOT_FOUND:
            raise


async def participants(client: api.LiveKitAPI, room: str) -> Sequence[models.ParticipantInfo]:
    """All who are in `room`; none if it is gone."""
    answer = api.ListParticipantsResponse()
    with unless_gone():
        answer = await client.room.list_participants(api.ListParticipantsRequest(room=room))
    return list(answer.participants)


async def agents(client: api.LiveKitAPI, room: str) -> Sequence[models.ParticipantInfo]:
    """The agents in `room`; none if it is gone."""
    people = await participants(client, room)
    return [each for each in people if each.kind == models.ParticipantInfo.Kind.AGENT]
