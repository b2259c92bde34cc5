"""An agent says in its room that it has the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from livekit import rtc

from voice_agent.call.fence import CALLER_ATTRIBUTE, EPOCH_ATTRIBUTE, Fence


class Room:
    """A room that tells of changes, and of which the client library misses every answer."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., None]] = {}
        self.remote_participants: dict[str, rtc.RemoteParticipant] = {}
        self.local_participant = SimpleNamespace(
            identity="agent",
            attributes={},
            set_attributes=self._set_attributes,
            register_rpc_method=lambda *_: None,
        )

    def on(self, event: str, handler: Callable[..., None]) -> None:
        self.handlers[event] = handler

    async def _set_attributes(self, attributes: dict[str, str]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(self._tell, {"another": "attribute"})
        loop.call_soon(self._tell, attributes)
        await asyncio.Event().wait()

    def _tell(self, attributes: dict[str, str]) -> None:
        self.local_participant.attributes |= attributes
        self.handlers["participant_attributes_changed"](attributes, self.local_participant)


async def test_an_agent_whose_answer_is_missed_knows_by_the_room_that_it_has_the_call() -> None:
    room = Room()
    fence = Fence(cast(Any, room), "caller-1", 2, lambda epoch: None)

    await asyncio.wait_for(fence.start(), 5)
    assert room.local_participant.attributes[EPOCH_ATTRIBUTE] == "2"
    await asyncio.wait_for(fence.say(3), 5)
    assert room.local_participant.attributes[EPOCH_ATTRIBUTE] == "3"
    assert room.local_participant.attributes[CALLER_ATTRIBUTE] == "caller-1"
