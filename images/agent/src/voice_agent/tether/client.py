"""The job's end of the tethers: one connection to every keeper, which the call never waits for."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import aiohttp
from aiohttp import WSMsgType
from pydantic import JsonValue, SecretStr

from voice_agent.state.store import Snapshot, Stamp
from voice_agent.tether import wire
from voice_agent.tether.wire import Ending, Tethered, WireError

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 0.5

# A new keeper takes part as soon as this.
_RESOLVE_SECONDS = 3.0
_FIRST_BACKOFF_SECONDS = 0.05
_LAST_BACKOFF_SECONDS = 3.0
_CONNECT_SECONDS = 3.0
# What a keeper does not acknowledge for so long, it will not: its node is gone.
_UNACKNOWLEDGED_MS = 5000
_FAREWELL_SECONDS = 1.0
# A keeper that is there is told within some tens of milliseconds; while none was, it is the machine that is slow.
_TOLD_SECONDS = 0.3
_NONE_TOLD_SECONDS = 2.0
_POLL_SECONDS = 0.02

Resolver = Callable[[str], Awaitable[frozenset[str]]]
Credential = Callable[[], str]


def credential(token_file: str | None, secret: SecretStr | None) -> Credential:
    """What shows a keeper that one is of the fleet.

    Args:
        token_file: of a service-account token, read anew each time because Kubernetes renews it.
        secret: shared, where there is no token.
    """

    def read() -> str:
        if token_file:
            return Path(token_file).read_text().strip()
        return secret.get_secret_value() if secret else ""

    return read


async def addresses_of(url: str) -> frozenset[str]:
    """Base URLs of all addresses behind `url`: the pods of a headless Service. Empty if it does not resolve."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await asyncio.get_running_loop().getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    hosts = {str(address[0]) for *_, address in found}
    return frozenset(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}" for host in hosts)


@dataclass(eq=False)
class _Link:
    """What one keeper has not been told yet."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sent_sequence: int = -1
    sent_state: dict[str, JsonValue] | None = None
    greeted: bool = False


class Tether:
    """Tells every keeper that the call lives, and its snapshots; an async context manager.

    It runs in a thread and an event loop of its own: neither a tool that blocks the call's loop nor a keeper that
    hangs delays the other. Its methods are called from the call's loop and return at once. Keepers that are not
    there are looked for until the end, and the call does not notice.

    Args:
        call: what the keepers are told first.
        url: of the keepers' headless Service, `http://…`; several are separated by commas.
        credential: gives the bearer token; asked for each connection, because tokens are replaced.
        on_superseded: called once, in the call's loop, with the epoch that has the call now.
        heartbeat_seconds: pause between two heartbeats.
        resolver: finds the keepers behind a URL.
        sequence: of the last snapshot that this process has given for the call by an earlier tether.
    """

    def __init__(
        self,
        call: Tethered,
        url: str,
        credential: Credential,
        on_superseded: Callable[[int], None],
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        resolver: Resolver = addresses_of,
        sequence: int = 0,
    ) -> None:
        self._call = call
        self._urls = [each.strip() for each in url.split(",") if each.strip()]
        self._credential = credential
        self._on_superseded = on_superseded
        self._heartbeat = heartbeat_seconds
        self._resolver = resolver
        self._snapshot: tuple[int, bytes] | None = None
        self._state: dict[str, JsonValue] | None = None
        self._ending: Ending | None = None
        self.sequence = sequence
        self._superseded = False
        self._found: frozenset[str] = frozenset()
        self._links: dict[str, tuple[_Link, asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        self._callers_loop = asyncio.get_running_loop()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="tether", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Without a goodbye before, the keepers take the call for lost."""
        self._post(self._stop.set)
        await asyncio.to_thread(self._thread.join, 2 * _FAREWELL_SECONDS)

    def put_snapshot(self, sealed: bytes) -> None:
        """Give the latest snapshot, sealed, to every keeper; a later one overtakes it."""
        self.sequence += 1
        self._post(self._set_snapshot, self.sequence, sealed)

    def put_state(self, state: dict[str, JsonValue]) -> None:
        """Tell what the call does now, for the status page: nothing that was said."""
        self._post(self._set_state, state)

    async def tell_state(self, state: dict[str, JsonValue]) -> None:
        """Put it, and wait until every keeper was told, but not for some that are hardly there."""
        began = time.monotonic()
        self.put_state(state)
        while (waited := time.monotonic() - began) < _NONE_TOLD_SECONDS:
            # All at once: the tether's own thread changes them meanwhile.
            told = [link.sent_state is state for link, _ in list(self._links.values())]
            if any(told) and (all(told) or waited > _TOLD_SECONDS):
                return
            await asyncio.sleep(_POLL_SECONDS)

    def goodbye(self, ending: Ending) -> None:
        """Tell every keeper that nothing is lost when the connection closes."""
        self._post(self._set_ending, ending)

    def _post(self, do: Callable[..., object], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the thread has ended
            self._loop.call_soon_threadsafe(do, *arguments)

    def _set_snapshot(self, sequence: int, sealed: bytes) -> None:
        self._snapshot = sequence, sealed
        self._tell()

    def _set_state(self, state: dict[str, JsonValue]) -> None:
        self._state = state
        self._tell()

    def _set_ending(self, ending: Ending) -> None:
        self._ending = ending
        self._tell()

    def _tell(self) -> None:
        for link, _ in self._links.values():
            link.changed.set()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._until_stopped())
        finally:
            self._loop.close()

    async def _until_stopped(self) -> None:
        async with aiohttp.ClientSession() as session:
            began = self._loop.time()
            looking = asyncio.create_task(self._look_for_keepers(session))
            await self._stop.wait()
            if self._ending is None and not self._superseded:
                await self._until_known(began)
            looking.cancel()
            tasks = [task for _, task in self._links.values()]
            if tasks and self._ending is not None:
                await asyncio.wait(tasks, timeout=_FAREWELL_SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(looking, *tasks, return_exceptions=True)

    async def _until_known(self, began: float) -> None:
        """Wait in the first moments until every keeper knows of the call: else none would send it another agent."""
        while self._loop.time() - began < _FAREWELL_SECONDS:
            if self._links and all(link.greeted for link, _ in self._links.values()):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _look_for_keepers(self, session: aiohttp.ClientSession) -> None:
        while True:
            found = frozenset[str]().union(*[await self._resolver(url) for url in self._urls])
            # A keeper that leaves the DNS may still be watching: its connection is kept as long as it holds.
            self._found = found
            self._links = {url: link for url, link in self._links.items() if not link[1].done()}
            for url in found - self._links.keys() if self._ending is None and not self._superseded else ():
                link = _Link()
                self._links[url] = link, asyncio.create_task(self._stay_connected(session, url, link))
            await asyncio.sleep(_RESOLVE_SECONDS)

    async def _stay_connected(self, session: aiohttp.ClientSession, url: str, link: _Link) -> None:
        backoff = _FIRST_BACKOFF_SECONDS
        while url in self._found and not self._superseded:
            began = self._loop.time()
            try:
                if await self._connect(session, url, link):
                    return
                reason = "it closed the connection"
            except (aiohttp.ClientError, OSError, TimeoutError, WireError) as error:
                reason = f"{type(error).__name__}: {error}"
            if self._ending is not None:
                return
            if self._loop.time() - began > _LAST_BACKOFF_SECONDS:
                backoff = _FIRST_BACKOFF_SECONDS
            logger.info("no tether to keeper %s: %s", url, reason)
            # Spread: the calls of all pods come back to a keeper that restarted.
            await asyncio.sleep(backoff * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
            backoff = min(2 * backoff, _LAST_BACKOFF_SECONDS)

    async def _connect(self, session: aiohttp.ClientSession, url: str, link: _Link) -> bool:
        """Serve one connection; True if there is nothing more to tell this keeper."""
        headers = {"Authorization": f"Bearer {self._credential()}"}
        async with asyncio.timeout(_CONNECT_SECONDS):
            connection = await session.ws_connect(f"{url}{wire.TETHER_PATH}", headers=headers, max_msg_size=64 * 1024)
        async with connection:
            own = connection.get_extra_info("socket")
            if own is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
                own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)
            await connection.send_str(wire.hello(self._call).model_dump_json())
            link.greeted = True
            link.sent_sequence, link.sent_state = -1, None
            link.changed.set()
            sending = asyncio.create_task(self._send(connection, link))
            receiving = asyncio.create_task(self._receive(connection))
            try:
                done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
                return any(task.result() for task in done)
            finally:
                for task in (sending, receiving):
                    task.cancel()
                await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send(self, connection: aiohttp.ClientWebSocketResponse, link: _Link) -> bool:
        while True:
            if link.changed.is_set():
                link.changed.clear()
                if self._snapshot is not None and self._snapshot[0] > link.sent_sequence:
                    sequence, sealed = self._snapshot
                    snapshot = Snapshot(Stamp(self._call.epoch, sequence), sealed)
                    await connection.send_bytes(wire.pack_snapshot(snapshot))
                    link.sent_sequence = sequence
                if self._state is not None and self._state is not link.sent_state:
                    state = self._state
                    await connection.send_str(wire.State(state=state).model_dump_json())
                    link.sent_state = state
                if self._ending is not None:
                    await connection.send_str(wire.Goodbye(ending=self._ending).model_dump_json())
                    return True
            else:
                await connection.pong()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._heartbeat):
                    await link.changed.wait()

    async def _receive(self, connection: aiohttp.ClientWebSocketResponse) -> bool:
        async for message in connection:
            if message.type is WSMsgType.TEXT and isinstance(told := wire.parse(message.data), wire.Superseded):
                self._leave(told.epoch)
                return True
        return False

    def _leave(self, epoch: int) -> None:
        if not self._superseded and epoch > self._call.epoch:
            self._superseded = True
            self._callers_loop.call_soon_threadsafe(self._on_superseded, epoch)
