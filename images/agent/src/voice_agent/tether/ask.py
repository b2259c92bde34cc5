"""What a job asks the keepers: whether its call is known, the call's next epoch, its snapshot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
from pydantic import ValidationError

from voice_agent.state.store import Snapshot
from voice_agent.tether import wire
from voice_agent.tether.client import Credential, Resolver, addresses_of
from voice_agent.tether.wire import Epoch, WireError

logger = logging.getLogger(__name__)

T = TypeVar("T")

ANSWER_WITHIN_SECONDS = 3.0
# It is asked again. A keeper that is gone is waited for as long as none says yes.
LOST_WITHIN_SECONDS = 1.0
# A caller waits for the first word meanwhile, and nearly always the call is new. In the cluster's network an answer
# takes milliseconds; a keeper whose node is gone stays in the DNS for half a minute.
KNOWN_WITHIN_SECONDS = 0.5
_OTHERS_KNOW_WITHIN_SECONDS = 0.1
_OTHERS_WITHIN_SECONDS = 0.3


class Keepers:
    """All keepers, asked at the same time.

    Args:
        url: as for `Tether`.
        credential: as for `Tether`.
        resolver: as for `Tether`.
    """

    def __init__(self, url: str, credential: Credential, resolver: Resolver = addresses_of) -> None:
        self._urls = [each.strip() for each in url.split(",") if each.strip()]
        self._credential = credential
        self._resolver = resolver

    async def epoch(self, call: str) -> Epoch:
        """The highest epoch of `call` that any keeper knows; 0 also if none answers at once.

        Args:
            call: as `Tethered.call` names it.
        """

        async def ask(session: aiohttp.ClientSession, keeper: str) -> Epoch:
            async with session.get(f"{keeper}{wire.EPOCH_PATH}", params={"call": call}) as answer:
                answer.raise_for_status()
                return Epoch.model_validate_json(await answer.read())

        return _highest(await self._answers(ask, KNOWN_WITHIN_SECONDS, _OTHERS_KNOW_WITHIN_SECONDS))

    async def claim(self, call: str, above: int) -> Epoch:
        """Take the next epoch of `call` from every keeper; the highest counts.

        Held only if no keeper gave one: where one did, agents below it are superseded.

        Args:
            call: as `Tethered.call` names it.
            above: the highest epoch that is known.
        """

        async def ask(session: aiohttp.ClientSession, keeper: str) -> Epoch:
            return await _claim(session, f"{keeper}{wire.EPOCH_PATH}", call, above)

        answers = await self._answers(ask, ANSWER_WITHIN_SECONDS)
        return _highest([answer for answer in answers if not answer.held] or answers)

    async def claim_lost(self, call: str, above: int) -> int | None:
        """Take the next epoch of a `call` that lost its agent, from the keeper that has it taken up; None if none has.

        One that is taken must be used: the agent that the keeper sends has a lower one.

        Args:
            call: as `Tethered.call` names it.
            above: the epoch of the agent that is gone.
        """

        async def ask(session: aiohttp.ClientSession, keeper: str) -> Epoch | None:
            answer = await _claim(session, f"{keeper}{wire.LOST_PATH}", call, above)
            return None if answer.held or answer.epoch <= above else answer

        answers = await self._answers(ask, LOST_WITHIN_SECONDS, _OTHERS_WITHIN_SECONDS)
        return max((answer.epoch for answer in answers if answer is not None), default=None)

    async def snapshot(self, call: str) -> bytes | None:
        """The latest sealed snapshot of `call` that any keeper has, or None.

        Args:
            call: as `Tethered.call` names it.
        """

        async def ask(session: aiohttp.ClientSession, keeper: str) -> Snapshot | None:
            async with session.get(f"{keeper}{wire.SNAPSHOT_PATH}", params={"call": call}) as answer:
                if answer.status == 404:
                    return None
                answer.raise_for_status()
                return wire.unpack_snapshot(await answer.read())

        answers = await self._answers(ask, ANSWER_WITHIN_SECONDS, _OTHERS_WITHIN_SECONDS)
        snapshots = [answer for answer in answers if answer is not None]
        return max(snapshots, key=lambda snapshot: snapshot.stamp).sealed if snapshots else None

    async def _answers(
        self, ask: Callable[[aiohttp.ClientSession, str], Awaitable[T]], seconds: float, others: float | None = None
    ) -> list[T]:
        """What the keepers answer within `seconds`; once one knows something, the others have `others` more at most."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            headers = {"Authorization": f"Bearer {self._credential()}"}
            async with asyncio.timeout_at(deadline):
                keepers = frozenset[str]().union(*[await self._resolver(url) for url in self._urls])
        except OSError as error:  # TimeoutError is one
            logger.warning("the keepers cannot be asked: %s: %s", type(error).__name__, error)
            return []
        answers: list[T] = []
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds), headers=headers) as session:
            asking = {asyncio.ensure_future(ask(session, keeper)): keeper for keeper in keepers}
            pending = set(asking)
            try:
                while pending and (left := deadline - loop.time()) > 0:
                    done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        try:
                            answers.append(task.result())
                        except (aiohttp.ClientError, OSError, TimeoutError, WireError, ValidationError) as error:
                            logger.warning("keeper %s: %s: %s", asking[task], type(error).__name__, error)
                    if others is not None and any(answer is not None for answer in answers):
                        deadline = min(deadline, loop.time() + others)
            finally:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
        return answers


async def _claim(session: aiohttp.ClientSession, url: str, call: str, above: int) -> Epoch:
    async with session.post(url, params={"call": call, "above": str(above)}) as answer:
        answer.raise_for_status()
        return Epoch.model_validate_json(await answer.read())


def _highest(answers: list[Epoch]) -> Epoch:
    return Epoch(
        epoch=max((answer.epoch for answer in answers), default=0),
        held=any(answer.held for answer in answers),
        died=max((answer.died for answer in answers), default=0),
    )
