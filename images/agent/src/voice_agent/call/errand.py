"""What a dispatch asks of a job: nothing, for a new call, or to go on with one that another agent began."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Kind(StrEnum):
    """Why a successor is called."""

    HANDOVER = "handover"
    """The agent that serves the call asks for a successor, and goes on until that one takes over."""
    RECOVERY = "recovery"
    """The agent that served the call is gone."""


class Errand(BaseModel):
    """A successor's errand. It travels as dispatch metadata, which is no place for secrets of the call."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Kind
    caller: Annotated[str, Field(min_length=1)]
    """The caller's participant identity."""
    epoch: Annotated[int, Field(ge=2)]
    """The call's epoch once the successor has it."""
    predecessor: str = ""
    """Participant identity of the agent that hands over."""
    job_metadata: str = ""
    """What the call's first dispatch told its agent, for a recovery, also a later one, that finds no snapshot."""
    kept_as: str = ""
    """For a recovery, the SID of the room whose name the snapshot has: LiveKit may have made the room anew since."""
    deaths: Annotated[int, Field(ge=0)] = 0
    """For a recovery, how many agents in a row have died while they restored the snapshot."""
    nonce: str = ""
    """Shows the predecessor that it talks to the successor it has called."""


class _Metadata(BaseModel):
    errand: Annotated[Errand, Field(alias="voice-agent")]


def read(metadata: str) -> Errand | None:
    """The errand in a dispatch's metadata; None when it is a new call's, whose metadata is the team's own."""
    try:
        return _Metadata.model_validate_json(metadata).errand
    except ValidationError:
        return None


def write(errand: Errand) -> str:
    """Dispatch metadata that `read` understands."""
    return _Metadata.model_validate({"voice-agent": errand}).model_dump_json(by_alias=True)
