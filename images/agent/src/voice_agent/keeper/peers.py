"""The other keepers, asked which calls they see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

import aiohttp
from pydantic import BaseModel, ConfigDict, ValidationError

from voice_agent.keeper.webhooks import PASSED_ON, WEBHOOKS_PATH
from voice_agent.tether.client import Credential, addresses_of

logger = logging.getLogger(__name__)

SEEN_PATH = "/v1/seen"
REACH_PATH = "/v1/reach"
# In the cluster's network an answer takes milliseconds; a peer that is gone must not delay a recovery.
_TIMEOUT = aiohttp.ClientTimeout(total=0.5)
# The same, and the DNS'.
_LEADS_WITHIN_SECONDS = 0.6
# It asks LiveKit first, see `keeper.reach`.
_REACHES_WITHIN_SECONDS = 1.6


class Seen(BaseModel):
    """A keeper's answer.

    Attributes:
        settled: whether it has run for long enough for every call to have found it.
        calls: (call, epoch) of all that it sees alive.
        leading: whether it acts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    settled: bool
    calls: frozenset[tuple[str, int]]
    leading: bool = True
    """An older keeper does not tell."""


class Reaches(BaseModel):
    """Another answer.

    Attributes:
        livekit: whether LiveKit has just answered it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    livekit: bool


class OtherKeepers:
    """Asks every keeper but this one; a `Peers`.

    Args:
        url: of the keepers' headless Service.
        own_address: this keeper's own, which is not asked.
        credential: the bearer token, read for each question.
    """

    def __init__(self, url: str, own_address: str | None, credential: Credential) -> None:
        self._url = url
        self._own = own_address
        self._credential = credential

    async def tethered(self) -> frozenset[tuple[str, int]] | None:
        """See `Peers.tethered`."""
        seen = [answer.calls for answer in await self._ask_all(await self._others()) if answer and answer.settled]
        return frozenset[tuple[str, int]]().union(*seen) if seen else None

    async def leads(self) -> bool | None:
        """See `Peers.leads`."""
        try:
            async with asyncio.timeout(_LEADS_WITHIN_SECONDS):
                addresses = await addresses_of(self._url)
                # A DNS that does not know even this keeper does not tell that there is no other one.
                if not any(self._is_own(url) for url in addresses):
                    return None
                answers = await self._ask_all(url for url in addresses if not self._is_own(url))
        except TimeoutError:
            return None
        if any(answer is not None and answer.leading for answer in answers):
            return True
        return None if None in answers else False

    async def reach_livekit(self) -> bool:
        """Whether another keeper says that LiveKit answers it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_REACHES_WITHIN_SECONDS), aiohttp.ClientSession() as session:
                asked = [asyncio.create_task(self._reaches(session, url)) for url in await self._others()]
                try:
                    for answer in asyncio.as_completed(asked):
                        if await answer:
                            return True
                finally:
                    for each in asked:
                        each.cancel()
                    await asyncio.gather(*asked, return_exceptions=True)
        return False

    async def _reaches(self, session: aiohttp.ClientSession, url: str) -> bool:
        try:
            async with session.get(f"{url}{REACH_PATH}", headers=self._authorization()) as answer:
                answer.raise_for_status()
                return Reaches.model_validate_json(await answer.read()).livekit
        except (aiohttp.ClientError, OSError, ValidationError) as error:
            logger.info("keeper %s does not answer: %s: %s", url, type(error).__name__, error)
            return False

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._credential()}"}

    async def pass_on(self, webhook: bytes, signature: str) -> None:
        """Give every other keeper what LiveKit has sent to this one; who does not take it does not hear of it."""
        headers = {"Authorization": signature, PASSED_ON: "1"}
        async with aiohttp.ClientSession(timeout=_TIMEOUT, headers=headers) as session:
            for url in await self._others():
                with suppress(aiohttp.ClientError, TimeoutError):
                    await session.post(f"{url}{WEBHOOKS_PATH}", data=webhook)

    async def _others(self) -> list[str]:
        return [url for url in await addresses_of(self._url) if not self._is_own(url)]

    def _is_own(self, url: str) -> bool:
        return self._own is not None and urlsplit(url).hostname == self._own

    async def _ask_all(self, urls: Iterable[str]) -> list[Seen | None]:
        """The answer of each keeper; None of one that does not answer."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            return await asyncio.gather(*(self._ask(session, url) for url in urls))

    async def _ask(self, session: aiohttp.ClientSession, url: str) -> Seen | None:
        try:
            async with session.get(f"{url}{SEEN_PATH}", headers=self._authorization()) as answer:
                answer.raise_for_status()
                return Seen.model_validate_json(await answer.read())
        except aiohttp.ClientConnectorError as error:
            # Its pod is there and its process is not, or not yet.
            refused = isinstance(error.os_error, ConnectionRefusedError)
            return Seen(settled=False, calls=frozenset(), leading=False) if refused else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            logger.info("keeper %s does not answer: %s: %s", url, type(error).__name__, error)
            return None
