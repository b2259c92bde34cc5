"""What a caller notices, one JSON object a line; times are wall-clock seconds (``time.time()``)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Event:
    """Something noticed at ``time``."""

    type: ClassVar[str]
    time: float

    def to_json(self) -> str:
        """One line."""
        return json.dumps({"type": self.type, **asdict(self)})


@dataclass(frozen=True)
class Joined(Event):
    """The caller is in the room."""

    type = "joined"


@dataclass(frozen=True)
class AgentJoined(Event):
    """An agent is in the room; ``pod`` is empty while unknown."""

    type = "agent_joined"
    agent: str
    pod: str = ""


@dataclass(frozen=True)
class AgentNamed(Event):
    """An agent told its pod (participant attribute ``voice-agent.pod``)."""

    type = "agent_named"
    agent: str
    pod: str


@dataclass(frozen=True)
class AgentLeft(Event):
    """An agent left the room."""

    type = "agent_left"
    agent: str


@dataclass(frozen=True)
class Asked(Event):
    """A question was played out from ``time`` to ``end``, the moment its last sample left the queue."""

    type = "asked"
    end: float
    question: int
    kind: int


@dataclass(frozen=True)
class Heard(Event):
    """A frame was recognised on an agent's track; ``time`` to ``end`` is where it sounded."""

    type = "heard"
    end: float
    agent: str
    kind: int
    call: int
    question: int
    turns: int


@dataclass(frozen=True)
class Sound(Event):
    """An agent's track carried sound from ``time`` to ``end``."""

    type = "sound"
    end: float
    agent: str
    track: str


@dataclass(frozen=True)
class Lost(Event):
    """No answer to ``question`` was recognised in time."""

    type = "lost"
    question: int


@dataclass(frozen=True)
class Reconnecting(Event):
    """The caller's connection broke; the client tries again."""

    type = "reconnecting"


@dataclass(frozen=True)
class Reconnected(Event):
    """The connection is back."""

    type = "reconnected"


@dataclass(frozen=True)
class Disconnected(Event):
    """The room is gone, and the caller did not want it."""

    type = "disconnected"
    reason: str


@dataclass(frozen=True)
class Stalled(Event):
    """The caller's own process got no processor from ``time`` to ``end``; its clocks are worth less for a while."""

    type = "stalled"
    end: float


@dataclass(frozen=True)
class Finished(Event):
    """The caller hung up: ``reason`` is done, told to stop, no agent, given up, disconnected or an error."""

    type = "finished"
    reason: str


_TYPES: dict[str, type[Event]] = {
    cls.type: cls
    for cls in (
        Joined,
        AgentJoined,
        AgentNamed,
        AgentLeft,
        Asked,
        Heard,
        Sound,
        Lost,
        Reconnecting,
        Reconnected,
        Disconnected,
        Stalled,
        Finished,
    )
}


def parse(line: str) -> Event | None:
    """The event of one line; None if the line is something else (a result, a native library's chatter)."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    cls = _TYPES.get(values.pop("type", "")) if isinstance(values, dict) else None
    return cls(**values) if cls else None
