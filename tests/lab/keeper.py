"""The product's keeper as a plain process on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from lab import metrics
from lab.interpreters import Process, start
from lab.ports import free_port

_READY_SECONDS = 180.0
_KNOWN_SECONDS = 90.0
SECRET = "of the fleet on loopback"  # noqa: S105 - protects nothing


class Keeper:
    """A running keeper.

    Attributes:
        url: where it serves.
    """

    def __init__(self, process: Process, url: str) -> None:
        self.url = url
        self._process = process

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it."""
        self._process.send_signal(number)

    async def exit_code(self) -> int:
        """Wait for it to leave."""
        return await asyncio.wait_for(self._process.wait(), _READY_SECONDS)

    async def get(self, path: str) -> Any:
        """What it answers to one of the fleet, parsed.

        Raises:
            ClientError: it does not answer, or with an error.
        """
        headers = {"Authorization": f"Bearer {SECRET}"}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(f"{self.url}{path}") as answer:
            answer.raise_for_status()
            return await answer.json()

    async def metric(self, sample: str) -> float:
        """A sample's value, by its name with labels as ``/metrics`` shows it; 0 when it is not there."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/metrics") as answer:
            return metrics.value(await answer.text(), sample)

    async def until(self, done: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
        """Wait until the calls that it knows are as they shall be.

        Raises:
            TimeoutError: they were not within half a minute; the message has them.
        """
        calls: dict[str, dict[str, Any]] = {}
        try:
            async with asyncio.timeout(_KNOWN_SECONDS):
                while True:
                    calls = await self.calls()
                    if done(calls):
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise TimeoutError(f"the keeper knows {calls}") from None

    async def calls(self) -> dict[str, dict[str, Any]]:
        """The calls that it knows, by their rooms."""
        return {call["room"]: call for call in (await self.get("/v1/calls"))["calls"]}


@asynccontextmanager
async def keeper(
    variables: Mapping[str, str], *, port: int | None = None, name: str = "keeper-a"
) -> AsyncIterator[Keeper]:
    """Run a keeper for as long as the context lasts.

    Args:
        variables: its settings; the port and the secret are chosen.
        port: a port of its own, for one that follows another.
        name: its pod's name.
    """
    port = port or free_port()
    own = {"KEEPER_PORT": str(port), "KEEPER_SECRET": SECRET, "POD_NAME": name}
    process = await start("-m", "voice_agent", "keeper", environment={**os.environ, **own, **variables})
    running = Keeper(process, f"http://127.0.0.1:{port}")
    try:
        await _up(running, process)
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _up(running: Keeper, process: Process) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            if process.returncode is not None:
                raise ChildProcessError(f"the keeper left with {process.returncode}; its log is above")
            try:
                await running.get("/v1/calls")
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
            else:
                return
