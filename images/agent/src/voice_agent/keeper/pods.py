"""The fleet's pods as the API server has them: which live, and which a newer revision replaces."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from voice_agent.kubernetes import ERRORS, ApiServer

logger = logging.getLogger(__name__)

# Set by the Deployment controller; a rollback gives the old ReplicaSet a new number.
_REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"
# All workers ask once a second; the API server is asked for all of them together.
FRESH_SECONDS = 1.0
# For a pod that is about to take a call over; a pod that goes hands several over at about the same time.
NOW_SECONDS = 0.2


@dataclass(frozen=True)
class Pod:
    """One of the fleet's pods.

    Attributes:
        name: its name.
        revision: of the Deployment's template that it was made from; 0 if nobody tells.
        ready: whether it takes calls.
    """

    name: str
    revision: int
    ready: bool


@dataclass(frozen=True)
class Deletion:
    """A pod that was told to go.

    Attributes:
        grace_seconds: as last asked for.
        due: when they are over, counted from the first request.
    """

    grace_seconds: int
    due: datetime

    @property
    def seconds_left(self) -> float:
        """From now until `due`, on the API server's clock as far as ours agrees with it."""
        return (self.due - datetime.now(UTC)).total_seconds()


class FleetPods:
    """Asks the API server; a `Pods`.

    Args:
        api: the API server.
        selector: label selector of the workers' pods.
    """

    def __init__(self, api: ApiServer, selector: str) -> None:
        self._api = api
        self._selector = selector
        self._pods: list[Pod] = []
        self._deletions: dict[str, Deletion] = {}
        self._read_at = -FRESH_SECONDS
        self._reading: asyncio.Task[list[Pod] | None] | None = None
        self._reading_since = -FRESH_SECONDS
        self._away = False

    async def living(self) -> frozenset[str] | None:
        """See `Pods.living`."""
        pods = await self.all()
        return None if pods is None else frozenset(pod.name for pod in pods if pod.ready)

    @property
    def last_seen(self) -> list[Pod]:
        """What was answered last, without asking: workers have it asked once a second."""
        return self._pods

    async def all(self, *, fresh_s: float = FRESH_SECONDS) -> list[Pod] | None:
        """Every pod of the fleet that was not told to go, as of `fresh_s` ago or later; None if nobody can be asked."""
        asked_at = time.monotonic()
        if asked_at - self._read_at < fresh_s:
            return self._pods
        if self._reading is None or self._reading.done() or asked_at - self._reading_since >= fresh_s:
            self._reading, self._reading_since = asyncio.create_task(self._look(asked_at)), asked_at
        # Whoever goes away meanwhile leaves it to the others that wait for it.
        return await asyncio.shield(self._reading)

    def deletion(self, pod: str) -> Deletion | None:
        """How `pod` is being deleted, by the last answer; None if it is not."""
        return self._deletions.get(pod)

    async def close(self) -> None:
        """Wait for no answer any more."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _look(self, since: float) -> list[Pod] | None:
        try:
            pods, deletions = await self._read()
        except ERRORS as error:
            if not self._away:
                self._away = True
                logger.warning("the API server does not tell of the fleet's pods: %s: %s", type(error).__name__, error)
            return None
        self._away = False
        # One that was asked for earlier may be answered later.
        if since > self._read_at:
            self._pods, self._deletions, self._read_at = pods, deletions, since
        return pods

    async def _read(self) -> tuple[list[Pod], dict[str, Deletion]]:
        pods = await self._items(f"/api/v1/namespaces/{self._api.namespace}/pods")
        sets = await self._items(f"/apis/apps/v1/namespaces/{self._api.namespace}/replicasets")
        revisions = {
            each["metadata"]["labels"][_HASH]: int(each["metadata"]["annotations"][_REVISION])
            for each in sets
            if _HASH in each["metadata"].get("labels", {}) and _REVISION in each["metadata"].get("annotations", {})
        }
        deletions = {
            each["metadata"]["name"]: Deletion(
                each["metadata"].get("deletionGracePeriodSeconds", 0),
                datetime.fromisoformat(each["metadata"]["deletionTimestamp"]),
            )
            for each in pods
            if "deletionTimestamp" in each["metadata"]
        }
        living = [
            Pod(
                each["metadata"]["name"],
                revisions.get(each["metadata"].get("labels", {}).get(_HASH, ""), 0),
                any(c["type"] == "Ready" and c["status"] == "True" for c in each["status"].get("conditions", [])),
            )
            for each in pods
            if "deletionTimestamp" not in each["metadata"]
        ]
        return living, deletions

    async def _items(self, path: str) -> list[dict[str, Any]]:
        # Out of the API server's cache: a moment's age does not matter, the load of a quorum read would.
        params = {"labelSelector": self._selector, "resourceVersion": "0"}
        status, answer = await self._api.request("GET", path, params=params)
        if status != 200:
            raise ValueError(f"{path}: the API server answered {status}: {answer.get('message')}")
        found: list[dict[str, Any]] = answer["items"]
        return found


def outdated(pods: Iterable[Pod], calls: Mapping[str, int], slots: int) -> frozenset[str]:
    """The pods that shall leave new calls, and handovers, to newer ones.

    Args:
        pods: the fleet.
        calls: how many calls each pod has, by its name.
        slots: how many calls one pod takes.
    """
    pods = list(pods)
    newest = max((pod.revision for pod in pods), default=0)
    free = sum(slots - calls.get(pod.name, 0) for pod in pods if pod.revision == newest and pod.ready)
    return frozenset(pod.name for pod in pods if pod.revision < newest) if free > 0 else frozenset()
