"""Of the agents in a room the one with the highest epoch has the call; every other one leaves without a word.

Each agent that has the call says its epoch in an attribute of its participant, which callers may read and cannot set:
only participants of the kind agent count.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from livekit import rtc

logger = logging.getLogger(__name__)

EPOCH_ATTRIBUTE = "voice-agent.epoch"
CALLER_ATTRIBUTE = "voice-agent.caller"
HERE = "voice-agent.here"
"""The RPC by which keepers ask an agent that is out of their sight for its epoch, as the attribute tells it."""


def epoch_told(attributes: Mapping[str, str], caller: str) -> int | None:
    """The epoch with which an agent says, by its participant's attributes, that it has the caller's call; else None."""
    epoch = attributes.get(EPOCH_ATTRIBUTE, "")
    return int(epoch) if attributes.get(CALLER_ATTRIBUTE) == caller and epoch.isdecimal() else None


def serves(attributes: Mapping[str, str]) -> bool:
    """Whether an agent says, by its attributes, that it has some caller's call: a room may hold several."""
    return bool(attributes.get(CALLER_ATTRIBUTE))


def holder(room: rtc.Room, caller: str) -> tuple[int, str] | None:
    """Epoch and identity of the other agent that has the caller's call, as far as this participant can see."""
    epochs = [
        (epoch, participant.identity)
        for participant in room.remote_participants.values()
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT
        and (epoch := epoch_told(participant.attributes, caller)) is not None
    ]
    return max(epochs, default=None)


class Fence:
    """Says that this agent has the call, and watches for one that has it since.

    Args:
        room: of the call.
        caller: the call's caller: a room may hold several calls.
        epoch: this agent's.
        leave: called once with the epoch of another agent that has the call. Of two with the same epoch, which only
            keepers that both believe they lead can send, one leaves: that with the lower identity.
    """

    def __init__(self, room: rtc.Room, caller: str, epoch: int, leave: Callable[[int], None]) -> None:
        self._room = room
        self._caller = caller
        self._epoch = epoch
        self._leave = leave
        self._left = False
        self._said = asyncio.Event()

    async def start(self) -> None:
        """Take the call."""
        self._room.on("participant_connected", self._on_participant)
        self._room.on("participant_attributes_changed", self._on_attributes)
        self._room.local_participant.register_rpc_method(HERE, self._here)
        await self.say(self._epoch)

    async def say(self, epoch: int) -> None:
        """Say, once more or with a new epoch, that this agent has the call; returns when the server has answered."""
        self._epoch = epoch
        self._said.clear()
        attributes = {EPOCH_ATTRIBUTE: str(epoch), CALLER_ATTRIBUTE: self._caller}
        # livekit-rtc 1.1.21 misses an answer that comes before it waits for one, and then waits for 5 s; that the epoch
        # has changed, it does not miss.
        answered = asyncio.ensure_future(self._room.local_participant.set_attributes(attributes))
        said = asyncio.ensure_future(self._said.wait())
        try:
            await asyncio.wait({answered, said}, return_when=asyncio.FIRST_COMPLETED)
            if answered.done():
                answered.result()
        finally:
            for each in (answered, said):
                each.cancel()
            await asyncio.gather(answered, said, return_exceptions=True)
        self._look()

    async def _here(self, _: rtc.RpcInvocationData) -> str:
        return "" if self._left else str(self._epoch)

    def _on_participant(self, _: rtc.RemoteParticipant) -> None:
        self._look()

    def _on_attributes(self, changed: dict[str, str], participant: rtc.Participant) -> None:
        own = participant.identity == self._room.local_participant.identity
        if own and changed.get(EPOCH_ATTRIBUTE) == str(self._epoch):
            self._said.set()
        self._look()

    def _look(self) -> None:
        other = holder(self._room, self._caller)
        if other is not None and not self._left and other > (self._epoch, self._room.local_participant.identity):
            self._left = True
            self._leave(other[0])
