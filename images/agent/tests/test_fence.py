"""An agent says in its room that it has the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from livekit import rtc

from voice_agent.call.fence import CALLER_ATTRIBUTE, EPOCH_ATTRIBUTE, Fence


class Room:
    """A room that tells of changes when the test says so, and of which the client library misses every answer."""

    def __init__(self) -> None:
        self.handlers: dict[str, Callable[..., None]] = {}
        self.asked: dict[str, str] = {}
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
        self.asked = attributes
        await asyncio.Event().wait()

    def tell(self, changed: dict[str, str], identity: str = "agent") -> None:
        self.handlers["participant_attributes_changed"](changed, SimpleNamespace(identity=identity))


async def until_blocked() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_agent_whose_answer_is_missed_knows_by_the_room_that_it_has_the_call() -> None:
    room = Room()
    fence = Fence(cast(Any, room), "caller-1", 2, lambda epoch: None)

    for epoch, saying in (("2", fence.start), ("3", lambda: fence.say(3))):
        said = asyncio.ensure_future(saying())
        await until_blocked()
        assert room.asked == {EPOCH_ATTRIBUTE: epoch, CALLER_ATTRIBUTE: "caller-1"}
        room.tell({"lk.agent.state": "listening"})
        room.tell(room.asked, identity="another-agent")
        room.tell({EPOCH_ATTRIBUTE: ""})
        room.tell({EPOCH_ATTRIBUTE: "1"})
        await until_blocked()
        assert not said.done()
        room.tell(room.asked)
        await asyncio.wait_for(said, 5)
