"""How a simulated session behaves when nothing goes wrong; what goes wrong is in ``faults``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass
class Behaviour:
    """The clocks, sizes and choices of a session; all times in seconds.

    The defaults of set-up, endpointing, latency and answer are those of the project's first measurements, not of
    Gemini. The limits are Google's (its page on session management): a connection lasts about ten minutes and is
    announced about a minute before, an audio session without context-window compression fifteen minutes, the context
    window holds 128,000 tokens, a handle is good for two hours.

    Attributes:
        setup_s: from the set-up message to ``setupComplete``.
        endpointing_s: silence that ends an utterance, in audio time, unless the client sets ``silenceDurationMs``.
        latency_s: from the end of an utterance, or a function's response, to the first audio.
        answer_s: length of an ordinary answer.
        long_answer_s: length of the answer to an ``ASK_LONG`` utterance.
        pace: how many times faster than it plays an answer is sent.
        playback_pace: how many times faster than in real time the client is thought to play an answer; ``turnComplete``
            comes when it has.
        connection_limit_s: how long a connection may last.
        goaway_lead_s: how long before the limit ``goAway`` is sent.
        limit_code: the close code at the limit.
        session_limit_s: how long a conversation without context-window compression may last.
        context_tokens: how many tokens a conversation without compression may hold; over that, close 1007.
        handle_ttl_s: how long a resumption handle is good for after it was given out.
        refused_handle_code: the close code for a handle that is unknown, expired or in use.
        exclusive_handles: whether a handle is refused while a connection of its conversation is still open; else the
            new connection gets a copy of the conversation.
    """

    setup_s: float = 0.15
    endpointing_s: float = 0.5
    latency_s: float = 0.3
    answer_s: float = 1.2
    long_answer_s: float = 8.0
    pace: float = 4.0
    playback_pace: float = 1.0
    connection_limit_s: float = 600.0
    goaway_lead_s: float = 60.0
    limit_code: int = 1011
    session_limit_s: float = 900.0
    context_tokens: int = 128_000
    handle_ttl_s: float = 7200.0
    refused_handle_code: int = 1008
    exclusive_handles: bool = False

    def update(self, values: dict[str, Any]) -> None:
        """Set some of the attributes; all of them or, if one is wrong, none.

        Raises:
            ValueError: a name is unknown or a value is not of its kind.
        """
        kinds: dict[str, type] = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        accepted: dict[str, Any] = {}
        for name, value in values.items():
            if name not in kinds:
                raise ValueError(f"behaviour {name!r} is unknown: use one of {', '.join(sorted(kinds))}")
            if kinds[name] is bool:
                if not isinstance(value, bool):
                    raise ValueError(f"behaviour {name} is {value!r}: use true or false")
            elif isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"behaviour {name} is {value!r}: use a number that is not negative")
            accepted[name] = kinds[name](value)
        for name in ("pace", "playback_pace"):
            if accepted.get(name) == 0:
                raise ValueError(f"behaviour {name} is 0: use a factor above 0, 1 for real time")
        for name, value in accepted.items():
            setattr(self, name, value)
