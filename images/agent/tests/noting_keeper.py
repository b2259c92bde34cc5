"""A keeper's end of tethers that notes what it is told, for the tests of both ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from pydantic import JsonValue

from voice_agent.state.memory import MemoryStore
from voice_agent.tether.auth import SharedSecret
from voice_agent.tether.client import Tether
from voice_agent.tether.server import TetherServer
from voice_agent.tether.wire import Ending, Loss, Tethered

SECRET = "shared"  # noqa: S105 - protects nothing
CALL = Tethered("room", "RM_1", "caller", 1, "AJ_1", "AD_1", "pod-1", "node-1", "agent-1", "voice-agent")
DEADLINE = 15.0


class Keeper:
    """One keeper that notes what it is told."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.url = ""
        self.server: TetherServer
        self.events: list[tuple[object, ...]] = []
        self.deaths = 0
        self.lost = False
        """Whether it has the call taken up."""
        self._changed = asyncio.Event()

    def on_call(self, call: Tethered) -> None:
        """Note a call's epoch."""
        self._note("call", call.epoch)

    def on_state(self, call: Tethered, state: dict[str, JsonValue]) -> None:
        """Note what a call is."""
        self._note("state", state)

    def on_lost(self, call: Tethered, loss: Loss) -> None:
        """Note a loss and its epoch."""
        self._note(loss, call.epoch)

    def on_goodbye(self, call: Tethered, ending: Ending) -> None:
        """Note how an agent left."""
        self._note("goodbye", ending)

    def died(self, call: str) -> int:
        """What is set."""
        return self.deaths

    def recovers(self, call: str) -> bool:
        """What is set."""
        return self.lost and call == CALL.call

    def _note(self, *event: object) -> None:
        self.events.append(event)
        self._changed.set()

    async def told(self, *event: object, times: int = 1) -> None:
        """Wait until `event` was reported so often."""
        async with asyncio.timeout(DEADLINE):
            while self.events.count(event) < times:
                self._changed.clear()
                await self._changed.wait()

    async def keeps(self, sealed: bytes, call: str = CALL.call) -> None:
        """Wait until the store has this snapshot."""
        await until(lambda: self._is_kept(sealed, call))

    def _is_kept(self, sealed: bytes, call: str) -> bool:
        entry = self.store._entries.get(call)
        return entry is not None and entry.snapshot is not None and entry.snapshot.sealed == sealed


async def until(holds: Callable[[], bool]) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(DEADLINE):
        while not holds():  # noqa: ASYNC110 - other code changes what it looks at
            await asyncio.sleep(0.01)


@asynccontextmanager
async def keeper(
    silence_seconds: float = 30.0, port: int = 0, store: MemoryStore | None = None
) -> AsyncIterator[Keeper]:
    """Serve such a keeper on loopback, with the tests' secret."""
    keeper = Keeper()
    keeper.store = store or keeper.store
    keeper.server = TetherServer(keeper.store, SharedSecret(SECRET), keeper, silence_seconds)
    runner = web.AppRunner(keeper.server.application(), shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        keeper.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield keeper
    finally:
        await runner.cleanup()


def tether(
    url: str,
    call: Tethered = CALL,
    on_superseded: Callable[[int], None] = lambda epoch: None,
    secret: str = SECRET,
    sequence: int = 0,
) -> Tether:
    """An agent's end of a tether to the keepers at ``url``, which are separated by commas."""
    return Tether(call, url, lambda: secret, on_superseded, heartbeat_seconds=0.05, sequence=sequence)
