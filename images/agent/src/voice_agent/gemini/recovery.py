"""What ended a connection, and what to do then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.genai.errors import APIError
from livekit.agents import APIConnectionError
from websockets.exceptions import ConnectionClosed, InvalidStatus

from voice_agent.telemetry.logs import masked

# RFC 6455, and google.genai's own stand-in for a connection that ended without a close frame.
_DROPPED = 1006
_INVALID_ARGUMENT = 1007
# What another attempt does not change: the key, the model's name, the project. 1008 is a policy violation.
_REFUSALS = frozenset({1008, 400, 401, 403, 404})
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 1.0
# So often in a row a handle is refused before it is given up: the service may hold the old connection, if that broke
# without a word, for open, and refuses the handle only as long as it does. A code that does not blame the request, such
# as 1011, may also mean that the service is away.
_HANDLE_TRIES = 2
_HANDLE_TRIES_IF_AWAY = 6
_TRIES = 3
# How many chat items are told to a new session after one that was too long for the service; then none.
_HISTORY_LIMITS = (40, 10, 0)


class LostHereError(APIConnectionError):
    """The service sets no session up with this process: out of reach, or refusing it. With another pod it may."""


@dataclass(frozen=True)
class Ending:
    """How a connection, or the attempt at one, ended.

    Attributes:
        reason: a short name for logs and metrics.
        error: what was raised, if anything was.
        code: WebSocket close code or HTTP status, if the service gave one.
        at_setup: the session was not set up yet.
        planned: it was ended by us, and nothing was wrong with it.
    """

    reason: str
    error: Exception | None = None
    code: int | None = None
    at_setup: bool = False
    planned: bool = False

    @property
    def refused(self) -> bool:
        """Whether the service would not have the session: for a key or a model's name that is wrong, or for itself.

        Of a key that is not valid the Live API says 1007, which may as well be said of a conversation; of one that is
        blocked, and of an unknown model, 1008. Or Google gives nobody with the pod's identity a token.
        """
        said = self.code in _REFUSALS or self.code == _INVALID_ARGUMENT
        return self.at_setup and (said or _gives_no_token(self.error))

    @property
    def words(self) -> str:
        """What is to be told of `error`: no key."""
        return masked(str(self.error)) if self.error else ""

    @classmethod
    def of(cls, error: Exception, *, at_setup: bool = False) -> Ending:
        """The ending that an exception tells of."""
        match error:
            case APIError():
                code: int | None = error.code
            case ConnectionClosed():
                code = error.rcvd.code if error.rcvd else _DROPPED
            case InvalidStatus():
                code = error.response.status_code
            case _:
                code = None
        if code is None:
            return cls("unreachable" if at_setup else "broken", error, at_setup=at_setup)
        return cls("dropped" if code == _DROPPED else str(code), error, code, at_setup)


def _gives_no_token(error: Exception | None) -> bool:
    """Whether Google has answered that the pod's identity gets no token.

    google-auth tells of a metadata server that is away, and of what one has answered, by the same error: a
    TransportError, whose second argument is the answer if there was one (google-auth 2.62.2,
    compute_engine/_metadata.py).
    """
    if not isinstance(error, DefaultCredentialsError | RefreshError):
        return False
    cause = error.__cause__
    if not isinstance(cause, TransportError):
        return True
    return len(cause.args) > 1 and getattr(cause.args[1], "status", 0) in _REFUSALS


@dataclass(frozen=True)
class Step:
    """What to do next.

    Attributes:
        delay_s: seconds to wait before the next attempt.
        drop_handle: begin a new conversation, and tell it the chat history.
        give_up: nothing more can be done.
    """

    delay_s: float = 0.0
    drop_handle: bool = False
    give_up: bool = False


class Recovery:
    """Decides after every ending; a turn that was answered, or a connection that lasted, resets it.

    Attributes:
        history_limit: how many of the last chat items a new conversation is told; None for all.

    Args:
        patience_s: how long to go on trying.
        clock: monotonic seconds.
    """

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.history_limit: int | None = None
        self.failures = 0
        """Attempts that failed in a row."""
        self._patience_s = patience_s
        self._clock = clock
        self._since = 0.0
        self._refused = 0
        self._connected = False

    def connected(self) -> None:
        """A session was set up."""
        self._connected = True
        self._refused = 0

    def progress(self) -> None:
        """The service does its work again."""
        self.failures = self._refused = 0
        self.history_limit = None

    def after(self, ending: Ending, *, with_handle: bool) -> Step:
        """What to do after this ending, of a connection that had a handle or not."""
        if ending.planned:
            return Step()
        if not self.failures:
            self._since = self._clock()
        self.failures += 1
        if self._clock() - self._since > self._patience_s:
            return Step(give_up=True)
        if ending.code == _INVALID_ARGUMENT and not ending.at_setup:
            return self._shorten()
        if ending.at_setup and ending.code is not None:
            self._refused += 1
            if with_handle and self._refused >= (_HANDLE_TRIES if ending.refused else _HANDLE_TRIES_IF_AWAY):
                self._refused = 0
                return Step(drop_handle=True)
            if not with_handle and ending.code == _INVALID_ARGUMENT:
                return self._shorten()
            if not with_handle and ending.code in _REFUSALS and self._refused >= (_TRIES if self._connected else 1):
                return Step(give_up=True)
        # At once the first time: most endings concern one connection, not the service.
        if self.failures == 1 and not ending.at_setup:
            return Step()
        return Step(min(_FIRST_DELAY_SECONDS * 2.0 ** min(self.failures - 1, 8), _LONGEST_DELAY_SECONDS))

    def _shorten(self) -> Step:
        """The service refuses the conversation itself, because it is too long: another with less of it."""
        shorter = [limit for limit in _HISTORY_LIMITS if self.history_limit is None or limit < self.history_limit]
        if not shorter:
            return Step(give_up=True)
        self.history_limit = shorter[0]
        return Step(drop_handle=True)
