"""Which of the keepers acts: the one that holds a Lease, as Kubernetes' own controllers agree on it."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from voice_agent.kubernetes import ERRORS, ApiServer
from voice_agent.telemetry import metrics

logger = logging.getLogger(__name__)

# client-go's 15, 10 and 2 s leave calls without an agent for a quarter of a minute when the leader's node is lost. A
# change of leader costs nothing here, so these are as short as an API server bears.
DURATION_SECONDS = 3
# A pause, a request that hangs, and what the others say then (0.6 s) pass in between: whoever goes on does not stop.
RENEW_WITHIN_SECONDS = 2.0
# A Lease lasts whole seconds. Who holds it acts for one less, and half of that is enough for what is under way then;
# the callers of a node that is lost with the leader wait for the rest.
EARLY_SECONDS = 0.5
REQUEST_SECONDS = 0.75
RETRY_SECONDS = 0.5
# The others let in whom the API server has vouched for lately: the leader must be known to them before it is away, with
# the token that it has now.
MEET_SECONDS = 10.0

# A keeper that has just begun does not know which calls were lost before: for so long it lets one that may have seen
# them, and that looks every RETRY_SECONDS, be first. The only keeper leads this much later.
PATIENCE_SECONDS = 1.5
YOUNG_SECONDS = 10.0
# Who stands aside has given the Lease back: any other keeper takes it at its next look.
ASIDE_SECONDS = 5.0


class Leader:
    """Holds the Lease, or waits for it; a `Lead`.

    A holder that could not renew stops leading before others may take over: they wait for the Lease's duration, less
    EARLY_SECONDS, from the last change that they have seen, by their own clocks, so no two clocks are compared; or
    until no other keeper leads, as a killed one's pod tells by refusing connections. A keeper that was killed and
    begins anew in its pod is another one: it has forgotten which calls were lost, and must not go on with the Lease
    that it held.

    While the API server is away, the leader goes on for as long as the other keepers say that none of them leads: the
    calls of a pod that dies must not wait for it. Should two lead for a moment, epochs keep their agents apart.

    Args:
        api: the API server.
        name: of the Lease.
        pod: this keeper's, which the Lease shows as its holder, with a suffix that is this process' own.
        another_leads: whether another keeper says so; None if that cannot be known.
    """

    def __init__(
        self, api: ApiServer, name: str, pod: str, another_leads: Callable[[], Awaitable[bool | None]]
    ) -> None:
        self._api = api
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{api.namespace}/leases"
        self._path = f"{self._leases}/{name}"
        self._name = name
        self._identity = f"{pod}_{secrets.token_hex(4)}"
        self._another_leads = another_leads
        self._away = False
        self._young_until = time.monotonic() + YOUNG_SECONDS
        self._renewed_at: float | None = None
        self._held: dict[str, Any] | None = None
        self._aside_until = -math.inf
        self._stood_aside = False
        self._met_at = -MEET_SECONDS
        self._seen: tuple[str, float] = ("", 0.0)
        self._runs_out_at = -math.inf
        self._was_leading = False

    @property
    def leading(self) -> bool:
        """Whether this keeper acts, now."""
        now = time.monotonic()
        held = self._renewed_at is not None and now - self._renewed_at < RENEW_WITHIN_SECONDS
        return held and now >= self._aside_until

    def stand_aside(self) -> bool:
        """Give the Lease back at the next look, and let the others lead; without an API server they could not."""
        if self._away or not self.leading:
            return False
        self._aside_until, self._stood_aside = time.monotonic() + ASIDE_SECONDS, True
        return True

    async def run(self) -> None:
        """Try to get the Lease and to keep it until cancelled; then it is given back."""
        try:
            while True:
                led = self.leading
                try:
                    if time.monotonic() < self._aside_until:
                        await self._give_back()
                    else:
                        self._renewed_at = await self._hold()
                        self._away, self._stood_aside = False, time.monotonic() < self._aside_until
                        await self._meet()
                except ERRORS as error:
                    await self._without_lease(error, led or self._stood_aside)
                except Exception:
                    # Whatever it is: a keeper that asks no more would never lead again.
                    logger.exception("the Lease %s cannot be renewed", self._name)
                self._tell()
                await asyncio.sleep(self._pause())
        finally:
            await self._give_back()

    def _pause(self) -> float:
        remaining = self._runs_out_at - time.monotonic()
        return min(RETRY_SECONDS, remaining) if remaining > 0 else RETRY_SECONDS

    async def _without_lease(self, error: Exception, led: bool) -> None:
        if not self._away:
            self._away = True
            logger.warning("the Lease %s cannot be renewed: %s: %s", self._name, type(error).__name__, error)
        if led and await self._another_leads() is False:
            self._renewed_at = time.monotonic()

    async def _meet(self) -> None:
        if self.leading and time.monotonic() - self._met_at >= MEET_SECONDS:
            self._met_at = time.monotonic()
            await self._another_leads()

    def _tell(self) -> None:
        metrics.KEEPER_LEADING.set(self.leading)
        if self.leading != self._was_leading:
            self._was_leading = self.leading
            logger.info("this keeper %s", "leads" if self.leading else "leads no more")

    async def _hold(self) -> float | None:
        """When the Lease was asked for, if this keeper holds it."""
        held, self._held = self._held, None
        # Its version is refused if anybody has written since, so that one request does what two would.
        if held is not None and (renewed_at := await self._write("PUT", self._path, held)) is not None:
            return renewed_at
        status, lease = await self._request("GET", self._path)
        if status == 404:
            return await self._write("POST", self._leases, {"metadata": {"name": self._name}})
        if status != 200:
            raise ValueError(f"the API server answered {status}: {lease.get('message')}")
        spec = lease.get("spec") or {}
        holder, version = spec.get("holderIdentity") or "", lease["metadata"]["resourceVersion"]
        if holder != self._identity:
            now = time.monotonic()
            if version != self._seen[0]:
                self._seen = version, now
            lasts = (spec.get("leaseDurationSeconds") or DURATION_SECONDS) - EARLY_SECONDS if holder else 0
            patience = PATIENCE_SECONDS if now < self._young_until else 0
            self._runs_out_at = self._seen[1] + lasts + patience
            # A holder that was killed is known by its silence or, where its pod refuses connections, at once.
            if now < self._runs_out_at and (now < self._young_until or not await self._is_free()):
                return None
        return await self._write("PUT", self._path, lease)

    async def _is_free(self) -> bool:
        """Whether no other keeper leads, or the Lease has run out before one that is cut off could answer."""
        try:
            async with asyncio.timeout(self._runs_out_at - time.monotonic()):
                return await self._another_leads() is False
        except TimeoutError:
            return True

    async def _write(self, method: str, path: str, lease: dict[str, Any]) -> float | None:
        # The others see it later, and count from there. What went before it, such as a question to a keeper that is
        # lost (0.6 s), must not shorten it.
        asked_at = time.monotonic()
        spec = lease.get("spec") or {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = spec.get("holderIdentity") == self._identity
        changed = spec | {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": now,
            "acquireTime": spec.get("acquireTime", now) if mine else now,
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + (0 if mine else 1),
        }
        body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **lease, "spec": changed}
        status, answer = await self._request(method, path, body)
        if status in {200, 201}:
            self._held = answer if answer["spec"]["holderIdentity"] == self._identity else None
            return asked_at if self._held else None
        if status == 409:  # another one was quicker, or has deleted it
            return None
        raise ValueError(f"the API server answered {status}: {answer.get('message')}")

    async def _request(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return await self._api.request(method, path, body, seconds=REQUEST_SECONDS)

    async def _give_back(self) -> None:
        if self._renewed_at is None:
            return
        self._renewed_at = self._held = None
        try:
            await self._release()
        except ERRORS as error:
            # Then nobody else can take it either.
            self._aside_until = -math.inf
            logger.warning("the Lease %s could not be given back: %s", self._name, error)

    async def _release(self) -> None:
        status, lease = await self._request("GET", self._path)
        if status == 200 and lease["spec"].get("holderIdentity") == self._identity:
            lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            status, lease = await self._request("PUT", self._path, lease)
        # Neither a Lease that is gone nor one that another has written to is ours.
        if status not in {200, 404, 409}:
            raise ValueError(f"the API server answered {status}: {lease.get('message')}")
