"""Who may tether a call: a pod of the fleet, as the API server says, or who knows the shared secret."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from voice_agent.kubernetes import ERRORS, ApiServer

AUDIENCE = "voice-agent-keeper"

# A pod's calls share one token: at a keeper's restart it is reviewed once, not once per call.
_REMEMBER_SECONDS = 60.0
# While the API server is away, pods that were let in stay known for as long as the kubelet may leave a token of an
# hour, the shortest there is, in its file: it renews at 80 % of its life.
_OUTAGE_SECONDS = 720.0
# So long a pod that is known waits for its review: an API server that hangs must not look like a keeper that does.
_REVIEW_OF_KNOWN_SECONDS = 0.2
_POD_NAME = "authentication.kubernetes.io/pod-name"


class DeniedError(Exception):
    """The credential is not one of the fleet's."""


class UndecidedError(Exception):
    """Nobody could be asked whether the credential is good: try again."""


@dataclass(frozen=True)
class Identity:
    """Who is at the other end."""

    pod: str | None
    """The pod that the token is bound to; None when the credential says nothing of it."""


class Authenticator(Protocol):
    """Decides by the `Authorization` header."""

    async def identify(self, authorization: str | None) -> Identity:
        """Who presents `authorization`.

        Raises:
            DeniedError: nobody of the fleet.
            UndecidedError: it cannot be told now.
        """
        ...


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise DeniedError("no bearer token")
    return token.strip()


class SharedSecret:
    """Outside of Kubernetes: everybody who knows the secret is of the fleet."""

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    async def identify(self, authorization: str | None) -> Identity:
        """See `Authenticator.identify`."""
        if not hmac.compare_digest(_bearer(authorization).encode(), self._secret):
            raise DeniedError("not the shared secret")
        return Identity(None)


class TokenReviews:
    """In Kubernetes: service-account tokens with our audience, of the fleet's account, reviewed by the API server.

    Args:
        api: the API server, in the fleet's namespace.
        service_accounts: the fleet's: whose pods' tokens are let in.
        clock: monotonic seconds.
    """

    def __init__(
        self, api: ApiServer, service_accounts: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._users = frozenset(f"system:serviceaccount:{api.namespace}:{account}" for account in service_accounts)
        self._clock = clock
        self._known: dict[bytes, tuple[float, Identity]] = {}

    async def identify(self, authorization: str | None) -> Identity:
        """See `Authenticator.identify`."""
        token = _bearer(authorization)
        digest = hashlib.sha256(token.encode()).digest()
        now = self._clock()
        self._known = {key: known for key, known in self._known.items() if known[0] > now - _OUTAGE_SECONDS}
        known = self._known.get(digest)
        if known and known[0] > now:
            return known[1]
        try:
            async with asyncio.timeout(_REVIEW_OF_KNOWN_SECONDS if known else None):
                identity = self._judge(await self._review(token))
        except (UndecidedError, TimeoutError):
            if known is None:
                raise
            return known[1]
        except DeniedError:
            self._known.pop(digest, None)
            raise
        self._known[digest] = now + _REMEMBER_SECONDS, identity
        return identity

    async def _review(self, token: str) -> dict[str, Any]:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [AUDIENCE]},
        }
        try:
            code, answer = await self._api.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
            if code not in {200, 201}:
                raise UndecidedError(f"the API server answered {code} to a TokenReview")
            status = answer["status"]
        except ERRORS as error:
            raise UndecidedError(f"no TokenReview: {type(error).__name__}") from error
        if not isinstance(status, dict):
            raise UndecidedError("a TokenReview without a status")
        return status

    def _judge(self, status: dict[str, Any]) -> Identity:
        if not status.get("authenticated") or AUDIENCE not in status.get("audiences", []):
            raise DeniedError("the API server does not vouch for the token")
        user = status.get("user") or {}
        if user.get("username") not in self._users:
            raise DeniedError(f"a token of {user.get('username')}, not of {' or '.join(sorted(self._users))}")
        pods = (user.get("extra") or {}).get(_POD_NAME) or [None]
        return Identity(pods[0])
