"""What the keepers know of this pod that it cannot know itself: whether newer pods have room, when it is killed.

A pod of an older revision that is not yet told to go takes calls and handovers as any other, and each of them would
move once more. The keepers tell such a pod to close as soon as newer pods have room, and to open again when they have
none. The grace with which a pod is deleted may be shorter than the one in its manifest (`kubectl delete
--grace-period`, an eviction), and only the API server knows it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
from livekit.agents.utils.aio import cancel_and_wait
from pydantic import BaseModel, ConfigDict, ValidationError

logger = logging.getLogger(__name__)

POD_PATH = "/v1/pods/"
ASK_SECONDS = 1.0
# A keeper that is starting, or being replaced, does not open the pod for a moment.
FORGET_SECONDS = 10.0
# What a keeper knows of the pods may be a second old.
_KNOWN_SECONDS = 2.0
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, ValidationError)
_TIMEOUT = aiohttp.ClientTimeout(total=2)
# LiveKit waits for our word on a call that is handed over, and its caller for nothing.
_NOW_TIMEOUT = aiohttp.ClientTimeout(total=1)


class Deletion(BaseModel):
    """A pod that is being deleted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    grace_seconds: float
    """As last asked for; a later request can only shorten it."""
    seconds_left: float
    """Until that time after the first request is over."""


class PodStanding(BaseModel):
    """A keeper's answer about one pod."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    closed: bool
    """Whether newer pods shall have the calls."""
    deletion: Deletion | None = None
    """None while nobody has deleted it, as far as the keeper knows."""
    known: bool = False
    """Whether the API server told the keeper a moment ago."""


class Standing:
    """Asks the keepers once a second.

    Args:
        url: KEEPER_URL.
        pod: this pod.
        credential: the bearer token, read for each question.
        expect_kill: told in how many seconds the pod is killed, each time that a keeper tells of its deletion.
    """

    def __init__(self, url: str, pod: str, credential: Callable[[], str], expect_kill: Callable[[float], None]) -> None:
        # Keepers of another cluster know nothing of this one's pods.
        self._url = f"{url.partition(',')[0].rstrip('/')}{POD_PATH}{pod}"
        self._credential = credential
        self._expect_kill = expect_kill
        self._grace: float | None = None
        self._undeleted_at = -math.inf
        self._killed_at = 0.0
        self._told_at = 0.0
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether newer pods shall have the calls; False when no keeper tells."""
        return self._closed

    async def ask_now(self) -> bool:
        """Whether newer pods shall have the calls at this moment.

        A rollout tells an old pod to go as soon as a new one is ready. This pod learns of the new one up to a second
        later, LiveKit of our load several; until then what an old pod hands over would go to the next that goes.
        """
        try:
            async with aiohttp.ClientSession(timeout=_NOW_TIMEOUT) as session:
                await self._ask(session, now=True)
        except _FAILURES as error:
            logger.debug("no keeper tells of this pod's standing: %s", error)
        return self._closed

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Ask for as long as the context lasts."""
        watch = asyncio.create_task(self._watch(), name="standing")
        try:
            yield
        finally:
            await cancel_and_wait(watch)

    async def _watch(self) -> None:
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            while True:
                try:
                    await self._ask(session)
                except _FAILURES as error:
                    logger.debug("no keeper tells of this pod's standing: %s", error)
                    if time.monotonic() - self._told_at >= FORGET_SECONDS:
                        self._close(False)
                await asyncio.sleep(ASK_SECONDS)

    def _take(self, told: PodStanding, asked_at: float) -> None:
        self._told_at = time.monotonic()
        self._close(told.closed)
        if told.deletion:
            self._expect(told.deletion)
        elif told.known:
            self._undeleted_at = asked_at

    def _close(self, closed: bool) -> None:
        if closed != self._closed:
            self._closed = closed
            logger.info("newer pods %s", "have room: no new calls" if closed else "have no room: open again")

    def _expect(self, deletion: Deletion) -> None:
        now = time.monotonic()
        if self._grace is None:
            # The keeper's clock may differ from the API server's; ours tells since when it can have been deleted.
            least = deletion.grace_seconds - (now - self._undeleted_at) - _KNOWN_SECONDS
            self._killed_at = now + min(max(deletion.seconds_left, least), deletion.grace_seconds)
        elif deletion.grace_seconds < self._grace:
            # The API server counts a shortened grace from the first request, the kubelet from now.
            self._killed_at = now + deletion.grace_seconds - ASK_SECONDS
        self._grace = deletion.grace_seconds
        self._expect_kill(self._killed_at - now)

    async def _ask(self, session: aiohttp.ClientSession, *, now: bool = False) -> None:
        asked_at = time.monotonic()
        headers = {"Authorization": f"Bearer {self._credential()}"}
        async with session.get(self._url, headers=headers, params={"now": ""} if now else None) as answer:
            answer.raise_for_status()
            self._take(PodStanding.model_validate_json(await answer.read()), asked_at)
