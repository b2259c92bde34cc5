"""What goes over a tether, between a call's process and a keeper; versioned and validated.

Text messages are JSON with a `type`; a heartbeat is an empty WebSocket pong, so that it costs neither side any
parsing. A snapshot is a binary message: epoch and sequence number as eight bytes each, big-endian, then the sealed
bytes.
"""

from __future__ import annotations

import struct
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from voice_agent.state.store import MAX_EPOCH, Snapshot, Stamp

# A change that an older keeper cannot ignore gets a path of its own.
TETHER_PATH = "/v1/tether"
SNAPSHOT_PATH = "/v1/snapshot"
EPOCH_PATH = "/v1/epoch"
LOST_PATH = "/v1/lost"

# In a call's state. The agent's epoch, while the agent restores the snapshot: one that dies of that dies soon.
RESTORING = "restoring"
# That the process lives, though the caller is left without an agent.
LEAVING = "leaving"
# The agent's epoch, when it leaves because nothing comes from LiveKit: it may be the pod's network, or LiveKit itself.
CUT_OFF = "cut-off"

# A sealed snapshot is base64: a third more than the bytes that `call.snapshot` may write.
MAX_MESSAGE_BYTES = 24 * 1024 * 1024

# A room's name, an identity: LiveKit's own limit is 256 characters.
_MAX_NAME = 512

_STAMP = struct.Struct(">qq")


class Loss(StrEnum):
    """How a keeper lost sight of a call that has not said goodbye."""

    CLOSED = "closed"
    """The connection closed: the process is dead, or its pod is."""
    SILENT = "silent"
    """The connection is open and nothing comes: the node is gone, or the process stands still."""
    CUT_OFF = "cut-off"
    """The connection closed, and the agent had said before that nothing comes to it from LiveKit."""


class Ending(StrEnum):
    """Why a call's process needs no tether any more."""

    CALLER_LEFT = "caller-left"
    FINISHED = "finished"
    """The agent ended the call."""
    HANDED_OVER = "handed-over"
    """The successor, with the next epoch, speaks; it has a tether of its own."""
    SUPERSEDED = "superseded"
    """Another agent with a higher epoch was found in the room."""


class WireError(Exception):
    """A message is not one of this protocol; the text holds nothing of its content."""


@dataclass(frozen=True)
class Tethered:
    """A call as its process introduces it."""

    room: str
    room_sid: str
    caller: str
    """The caller's participant identity."""
    epoch: int
    """The fencing token of the agent that speaks; 1 for a call's first."""
    job_id: str
    dispatch_id: str
    pod: str
    node: str
    agent_identity: str
    """The agent's participant identity: whom a keeper removes to fence it."""
    agent_name: str

    @property
    def call(self) -> str:
        """Names the call in every store: the room as it is now, and who called."""
        return f"{self.room_sid}/{self.caller}"

    @property
    def rank(self) -> tuple[int, str]:
        """Of a call's agents that of the highest rank has it, as the agents themselves decide, see `call.fence`.

        Two have the same epoch only if keepers that both believe they lead have sent them.
        """
        return self.epoch, self.agent_identity


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


_Name = Annotated[str, Field(max_length=_MAX_NAME)]
_Required = Annotated[str, Field(min_length=1, max_length=_MAX_NAME)]


class Hello(_Message):
    """The first message of a tether."""

    type: Literal["hello"] = "hello"
    room: _Required
    room_sid: _Required
    caller: _Required
    epoch: Annotated[int, Field(ge=1, lt=MAX_EPOCH)]
    job_id: _Required
    dispatch_id: _Name
    pod: _Required
    node: _Name
    agent_identity: _Required
    agent_name: _Name


class State(_Message):
    """What the call does at the moment, for the status page; never a transcript."""

    type: Literal["state"] = "state"
    state: dict[str, JsonValue]


class Goodbye(_Message):
    """The call needs no tether any more."""

    type: Literal["goodbye"] = "goodbye"
    ending: Ending


class Superseded(_Message):
    """The only message from a keeper: another agent has the call, leave without a word."""

    type: Literal["superseded"] = "superseded"
    epoch: Annotated[int, Field(ge=1)]
    """The call's epoch now."""


class Epoch(_Message):
    """A keeper's answer to who asks for a call's epoch, or claims the next one."""

    epoch: Annotated[int, Field(ge=0, lt=MAX_EPOCH)]
    """The highest that is known, or the one that was claimed; 0 for a call that is not known, or not to be had."""
    held: bool
    """Whether an agent that is tethered has the call; then nothing was claimed."""
    died: Annotated[int, Field(ge=0)] = 0
    """Beside a claim, how many agents in a row have died of what they restored of the call."""


Message = Hello | State | Goodbye | Superseded

_MESSAGES: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def hello(call: Tethered) -> Hello:
    """How `call` is introduced."""
    return Hello(**asdict(call))


def tethered(message: Hello) -> Tethered:
    """The call that `message` introduces."""
    return Tethered(**message.model_dump(exclude={"type"}))


def parse(text: str) -> Message:
    """The message in `text`.

    Raises:
        WireError: it is none of this protocol.
    """
    try:
        return _MESSAGES.validate_json(text)
    except ValidationError as error:
        # pydantic's own message quotes the values.
        where = sorted({".".join(str(part) for part in problem["loc"]) or "all" for problem in error.errors()})
        raise WireError(f"wrong: {', '.join(where)}") from None


def pack_snapshot(snapshot: Snapshot) -> bytes:
    """A snapshot as a binary message."""
    return _STAMP.pack(snapshot.stamp.epoch, snapshot.stamp.sequence) + snapshot.sealed


def unpack_snapshot(data: bytes) -> Snapshot:
    """What `pack_snapshot` packed.

    Raises:
        WireError: it is too short, or the epoch is none.
    """
    if len(data) <= _STAMP.size:
        raise WireError("a snapshot without content")
    stamp = Stamp(*_STAMP.unpack_from(data))
    if not 1 <= stamp.epoch < MAX_EPOCH or stamp.sequence < 0:
        raise WireError("a snapshot with an epoch or a sequence number out of range")
    return Snapshot(stamp, data[_STAMP.size :])
