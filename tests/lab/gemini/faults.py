"""What can be made to go wrong, when, and to whom."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

Action = Literal["close", "drop", "stall", "slow", "goaway", "refuse_handle"]
Moment = Literal["now", "setup", "utterance", "turn", "tool_call", "answer"]


@dataclass
class Fault:
    """One failure, done to the first sessions that match.

    Attributes:
        action: ``close`` the connection with ``code``; ``drop`` it without a close frame, as a lost network does;
            ``stall``: never say anything again; ``slow``: add ``delay_s`` to the latency; ``goaway``: announce the end
            in ``delay_s`` and close with ``code`` then; ``refuse_handle``: treat the handle as expired.
        when: ``now``, to the open sessions that match; at ``setup``; in the middle of the user's
            ``utterance``, before it counts as a turn; when a user's turn has ended (``turn``); when a function has been
            called (``tool_call``); or in the middle of an ``answer``. ``refuse_handle`` is always
            done at set-up.
        call: only the conversation of this call; its number is known from its first utterance on.
        turn: only when the conversation has this many user turns.
        connection: only the connection of this number.
        code: close code; Gemini closes with 1007 (invalid argument), 1008 (policy), 1011 (internal error).
        delay_s: seconds, for ``slow`` and ``goaway``.
        times: how often it is done before it is spent.
    """

    action: Action
    when: Moment = "turn"
    call: int | None = None
    turn: int | None = None
    connection: int | None = None
    code: int = 1011
    delay_s: float = 1.0
    times: int = 1

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ValueError(f"fault action is {self.action!r}: use one of {', '.join(get_args(Action))}")
        if self.when not in get_args(Moment):
            raise ValueError(f"fault when is {self.when!r}: use one of {', '.join(get_args(Moment))}")
        if not 1000 <= self.code <= 4999:
            raise ValueError(f"fault code is {self.code}: use a WebSocket close code from 1000 to 4999")
        if self.action == "refuse_handle":
            self.when = "setup"

    @classmethod
    def parse(cls, values: dict[str, Any]) -> Fault:
        """A fault from JSON.

        Raises:
            ValueError: a key is unknown or missing, or a value makes no sense.
        """
        known = [field.name for field in fields(cls)]
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"fault key {name!r} is unknown: use one of {', '.join(known)}")
            if name not in ("action", "when") and value is not None and not isinstance(value, int | float):
                raise ValueError(f"fault {name} is {value!r}: use a number")
        if "action" not in values:
            raise ValueError(f"fault action is missing: use one of {', '.join(get_args(Action))}")
        return cls(**values)

    def take(self, when: Moment, *, connection: int, call: int | None, turn: int) -> bool:
        """Whether the fault is done now; counts it down if so."""
        due = (
            self.times > 0
            and self.when == when
            and self.connection in (None, connection)
            and self.call in (None, call)
            and self.turn in (None, turn)
        )
        if due:
            self.times -= 1
        return due
