"""How a simulated session behaves, and how it fails."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal


@dataclass
class Behaviour:
    """The clocks and sizes of a session; all times in seconds.

    The defaults of set-up, endpointing and latency are those of the hand-over spike; the limits are Google's: a
    connection lasts about ten minutes and is announced about a minute before, an audio session without context-window
    compression fifteen minutes, a resumption handle two hours on the Developer API.

    Attributes:
        setup_s: from the set-up message to ``setupComplete``.
        endpointing_s: silence that ends an utterance, measured in audio time.
        latency_s: from the end of an utterance to the first audio.
        answer_s: length of an ordinary answer.
        long_answer_s: length of the answer to an ``ASK_LONG`` utterance.
        pace: how many times faster than it plays an answer is sent.
        connection_limit_s: how long a connection may last.
        goaway_lead_s: how long before the limit ``goAway`` is sent.
        session_limit_s: how long a conversation without context-window compression may last.
        handle_ttl_s: how long a resumption handle is good for.
    """

    setup_s: float = 0.15
    endpointing_s: float = 0.5
    latency_s: float = 0.3
    answer_s: float = 1.2
    long_answer_s: float = 8.0
    pace: float = 4.0
    connection_limit_s: float = 600.0
    goaway_lead_s: float = 60.0
    session_limit_s: float = 900.0
    handle_ttl_s: float = 7200.0

    def update(self, values: dict[str, Any]) -> None:
        """Set some of the attributes.

        Raises:
            ValueError: a name is unknown or a value is not a positive number.
        """
        known = {field.name for field in fields(self)}
        for name, value in values.items():
            if name not in known:
                raise ValueError(f"behaviour {name!r} is unknown: use one of {', '.join(sorted(known))}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"behaviour {name} is {value!r}: a number of seconds (or a factor) is expected")
        for name, value in values.items():
            setattr(self, name, float(value))


@dataclass
class Fault:
    """One failure, done to the first sessions that match.

    Attributes:
        action: ``close`` the connection with ``code``; ``stall``: never say anything again; ``slow``: add ``delay_s``
            to the latency; ``goaway``: announce the end in ``delay_s`` and close then; ``refuse_handle``: treat the
            handle as expired.
        when: at ``setup``, when a user's turn has ended (``turn``), or in the middle of an answer (``answer``).
            ``refuse_handle`` is always done at set-up.
        call: only the conversation of this call (its number is known from its first utterance on).
        turn: only when the conversation has this many user turns.
        code: close code; Gemini closes with 1007 (invalid argument), 1008 (policy), 1011 (internal error).
        delay_s: seconds, for ``slow`` and ``goaway``.
        times: how often it is done before it is spent.
    """

    action: Literal["close", "stall", "slow", "goaway", "refuse_handle"]
    when: Literal["setup", "turn", "answer"] = "turn"
    call: int | None = None
    turn: int | None = None
    code: int = 1011
    delay_s: float = 1.0
    times: int = 1

    def __post_init__(self) -> None:
        if self.action not in ("close", "stall", "slow", "goaway", "refuse_handle"):
            raise ValueError(f"fault action {self.action!r} is unknown")
        if self.when not in ("setup", "turn", "answer"):
            raise ValueError(f"fault when={self.when!r} is unknown: use setup, turn or answer")

    def take(self, when: str, call: int | None, turn: int) -> bool:
        """Whether the fault is done now; counts it down if so."""
        due = self.times > 0 and self.when == when
        due = due and (self.call is None or self.call == call) and (self.turn is None or self.turn == turn)
        if due:
            self.times -= 1
        return due
