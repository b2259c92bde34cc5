"""What is kept of a call outside of its pod: enough for another pod to go on with it.

Handles, transcripts and a team's own state are in it. It is a secret: never log it, never put it into metadata.
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from voice_agent.gemini import ModelCheckpoint

VERSION = 1

# A conversation of an hour is some 100 kB as JSON; beyond this a snapshot is broken or hostile.
MAX_BYTES = 16 * 1024 * 1024


class Unusable(StrEnum):
    """Why a snapshot could not be read; the call then goes on as a fresh conversation."""

    BROKEN = "broken"
    """Not a snapshot, cut short, or with values out of range."""
    NEWER = "newer"
    """Written by a later version of this package, as after a rollback."""


class SnapshotError(Exception):
    """A snapshot cannot be used; the message holds nothing of its content."""

    def __init__(self, reason: Unusable, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class _Frozen(BaseModel):
    # Unknown fields are those of a later minor change: ignored, so that an older pod can still take the call.
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_bytes="base64", val_json_bytes="base64")


class CallIdentity(_Frozen):
    """Which call it is, and how often it has changed hands."""

    room: Annotated[str, Field(min_length=1)]
    room_sid: str
    """Differs from one room of that name to the next."""
    caller: Annotated[str, Field(min_length=1)]
    """The caller's participant identity."""
    epoch: Annotated[int, Field(ge=1)] = 1
    """The fencing token: 1 for the first agent, one more for each that takes over. The highest one speaks."""
    job_metadata: str = ""
    """What the dispatch carried for the agent, as the first job got it."""

    @property
    def key(self) -> str:
        """The call's name in every store, as `Tethered.call` has it: the room as it is now, and who called."""
        return f"{self.room_sid}/{self.caller}"


class AgentState(_Frozen):
    """The agent that speaks, and what it wants to keep."""

    path: str
    """`package.module:Class` of the agent that is active, which need not be the one that began the call."""
    instructions: str
    chat: dict[str, Any]
    """`livekit.agents.ChatContext.to_dict()`, without images and audio."""
    own: JsonValue = None
    """What the agent's `save_state` returned."""


class Snapshot(_Frozen):
    """A call as another pod can go on with it."""

    version: Literal[1] = 1
    call: CallIdentity
    agent: AgentState
    model: ModelCheckpoint = ModelCheckpoint()
    trace: dict[str, str] = {}
    """The W3C trace context of the call's span."""
    pod: str = ""
    """Who wrote it."""
    began_at: AwareDatetime
    """When the caller was first answered."""
    written_at: AwareDatetime
    caller_speaking: bool = False
    """Whether the caller had the word when it was written."""
    agent_speaking: bool = False
    """Whether an answer was being played to the caller."""
    entering: bool = False
    """Whether the agent was still in its `on_enter`, and nobody had said anything: the next one enters."""

    def encode(self) -> bytes:
        """As compressed JSON. Not encrypted: what leaves memory is sealed by who stores it."""
        return zlib.compress(self.model_dump_json().encode(), level=1)


class _Version(_Frozen):
    version: int


def decode(data: bytes) -> Snapshot:
    """The snapshot that `Snapshot.encode` wrote.

    Raises:
        SnapshotError: it is broken, or written by a later version.
    """
    try:
        # zlib's own limit keeps a small hostile message from becoming a large one.
        inflate = zlib.decompressobj()
        text = inflate.decompress(data, MAX_BYTES)
        if not inflate.eof:
            raise SnapshotError(Unusable.BROKEN, "cut short or too large")
        version = _Version.model_validate_json(text).version
        if version > VERSION:
            raise SnapshotError(Unusable.NEWER, f"version {version}, this one reads {VERSION}")
        return Snapshot.model_validate_json(text)
    except zlib.error as error:
        raise SnapshotError(Unusable.BROKEN, "not compressed data") from error
    except ValidationError as error:
        # pydantic's own message quotes the values.
        where = sorted({".".join(str(part) for part in problem["loc"]) or "all" for problem in error.errors()})
        raise SnapshotError(Unusable.BROKEN, f"wrong: {', '.join(where)}") from None
