"""The keeper's end of the tethers: holds the live calls and tells which are lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web
from pydantic import JsonValue

from voice_agent.state.store import MAX_EPOCH, Snapshot, Store, StoreError
from voice_agent.tether import wire
from voice_agent.tether.auth import Authenticator, DeniedError, Identity, UndecidedError
from voice_agent.tether.wire import Ending, Loss, Tethered, WireError

logger = logging.getLogger(__name__)

# False positives and the promise for a lost node (6 s) bound it from both sides; tests/bench/tethers.py measures them.
SILENCE_SECONDS = 2.0

# How long the memory of a call is kept after its agent's goodbye. Who has left may be back as long as LiveKit keeps the
# room, for 20 s, and is then found by the keepers within some seconds, see `keeper.reconciliation`.
_FORGOTTEN_AFTER_SECONDS = {Ending.FINISHED: 0.0, Ending.CALLER_LEFT: 30.0}

_HELLO_SECONDS = 5.0
# Lost and never heard again: the connection of a node that is gone would stay for ever.
_FORGET_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_SWEEPS_PER_SILENCE = 8


class Watcher(Protocol):
    """Is told what happens to calls, and asked about them, in the event loop; must not block."""

    def on_call(self, call: Tethered) -> None:
        """`call` is tethered: for the first time, again after its connection broke, or heard again."""

    def on_state(self, call: Tethered, state: dict[str, JsonValue]) -> None:
        """What `call` does now, for the status page."""

    def on_lost(self, call: Tethered, loss: Loss) -> None:
        """`call` is out of sight. One that was silent may be reported once more, as closed."""

    def on_goodbye(self, call: Tethered, ending: Ending) -> None:
        """The process of `call` needs no tether any more; no loss follows."""

    def died(self, call: str) -> int:
        """Is asked how many agents in a row have died of what they restored of a call."""

    def recovers(self, call: str) -> bool:
        """Is asked whether it has a call taken up, that it holds to be without an agent, and so may another."""


def _told(epoch: wire.Epoch) -> web.Response:
    return web.json_response(text=epoch.model_dump_json(), headers={"Cache-Control": "no-store"})


@dataclass(frozen=True)
class Sight:
    """How surely the tethered calls live that are not silent yet.

    Attributes:
        steady: heard a moment ago.
        faltering: not heard for longer than a heartbeat takes: those that the same event cuts off are noticed one
            after the other, and of these it is not known yet.
    """

    steady: frozenset[Tethered] = frozenset()
    faltering: frozenset[Tethered] = frozenset()


@dataclass(eq=False)
class _Tether:
    """One connection, from its hello on."""

    call: Tethered
    socket: web.WebSocketResponse
    transport: asyncio.WriteTransport
    heard_at: float
    silent: bool = False
    superseded: bool = False
    forgotten: bool = False
    """It was silent for so long that it is closed here; that tells nothing of the call."""
    latest: Snapshot | None = None
    """The latest snapshot that came."""
    has_work: asyncio.Event = field(default_factory=asyncio.Event)


class TetherServer:
    """Accepts the tethers of calls, keeps their snapshots and reports losses.

    Args:
        store: where snapshots are kept; slow or gone, it disturbs no tether.
        authenticator: decides who may connect.
        watcher: is told of calls and losses.
        silence_seconds: a call that is not heard for so long is lost. A late look of our own does not count.
    """

    def __init__(
        self, store: Store, authenticator: Authenticator, watcher: Watcher, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        self._store = store
        self._authenticator = authenticator
        self._watcher = watcher
        self._silence = silence_seconds
        self._tethers: set[_Tether] = set()
        self._left: dict[str, tuple[Tethered, float]] = {}
        """Calls whose agents said that the caller had left, and when, the first first."""
        self._closing = False

    def application(self) -> web.Application:
        """The routes, with the watch over silence that runs as long as they are served."""
        app = web.Application()
        app.add_routes(
            [
                web.get(wire.TETHER_PATH, self._tether),
                web.get(wire.SNAPSHOT_PATH, self._snapshot),
                web.get(wire.EPOCH_PATH, self._epoch),
                web.post(wire.EPOCH_PATH, self._claim),
                web.post(wire.LOST_PATH, self._claim_lost),
            ]
        )
        app.cleanup_ctx.append(self._watching)
        app.on_shutdown.append(self._close_all)
        return app

    @property
    def calls(self) -> Iterator[Tethered]:
        """Those that are tethered and neither silent now nor told to leave for another agent."""
        return (tether.call for tether in self._tethers if not (tether.silent or tether.superseded))

    def sight(self) -> Sight:
        """Which calls are surely in sight now."""
        oldest = time.monotonic() - self._silence / 2
        heard = {t for t in self._tethers if not (t.silent or t.superseded)}
        steady = {t for t in heard if t.heard_at >= oldest}
        return Sight(frozenset(t.call for t in steady), frozenset(t.call for t in heard - steady))

    async def supersede(self, call: str, epoch: int) -> None:
        """Tell every agent of `call` below `epoch` to leave without a word, and expect nothing more of it."""
        for tether in [t for t in self._tethers if t.call.call == call and t.call.epoch < epoch]:
            await self._supersede(tether, epoch)

    async def _supersede(self, tether: _Tether, epoch: int) -> None:
        tether.superseded = True
        with contextlib.suppress(ConnectionError, RuntimeError):
            await tether.socket.send_str(wire.Superseded(epoch=epoch).model_dump_json())

    async def admit(self, request: web.Request) -> Identity:
        """Who asks.

        Raises:
            HTTPForbidden: nobody of the fleet.
            HTTPServiceUnavailable: it cannot be told now.
        """
        try:
            return await self._authenticator.identify(request.headers.get("Authorization"))
        except DeniedError as error:
            logger.warning("refused %s: %s", request.remote, error)
            raise web.HTTPForbidden(text=f"{error}\n") from error
        except UndecidedError as error:
            logger.warning("cannot tell who %s is: %s", request.remote, error)
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error

    async def _snapshot(self, request: web.Request) -> web.Response:
        """The latest sealed snapshot of a call, for the agent that takes it up."""
        await self.admit(request)
        call = request.query.get("call", "")
        try:
            kept = await self._store.get(call)
        except StoreError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        if kept is None or kept.snapshot is None:
            raise web.HTTPNotFound(text="no snapshot\n")
        return web.Response(body=wire.pack_snapshot(kept.snapshot), headers={"Cache-Control": "no-store"})

    async def _epoch(self, request: web.Request) -> web.Response:
        """What is known of a call, for an agent that was sent to it without a word about another."""
        await self.admit(request)
        call = request.query.get("call", "")
        if held := self._held(call):
            return _told(wire.Epoch(epoch=held, held=True))
        if left := self._left.pop(call, None):
            # Who calls an agent to a caller who was away asks for a new conversation; the keepers send theirs knowing.
            await self._forget(left[0], 0.0)
        try:
            kept = await self._store.get(call)
        except StoreError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        return _told(wire.Epoch(epoch=kept.epoch if kept else 0, held=False))

    async def _claim_lost(self, request: web.Request) -> web.Response:
        """The next epoch of a call that this keeper has taken up: above that of the agent which it sends."""
        await self.admit(request)
        return await self._next_epoch(request, lost=True)

    async def _claim(self, request: web.Request) -> web.Response:
        """The next epoch of a call, unless an agent has it."""
        await self.admit(request)
        return await self._next_epoch(request)

    async def _next_epoch(self, request: web.Request, *, lost: bool = False) -> web.Response:
        call, above = request.query.get("call", ""), request.query.get("above", "")
        if not call or not above.isdecimal() or int(above) >= MAX_EPOCH - 1:
            raise web.HTTPBadRequest(text=f"call={call!r}&above={above!r}: set call, and above to an epoch\n")
        if held := self._held(call):
            return _told(wire.Epoch(epoch=held, held=True))
        try:
            if lost and not await self._is_taken_up(call, int(above)):
                return _told(wire.Epoch(epoch=0, held=False))
            epoch = await self._store.claim(call, int(above))
        except StoreError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        return _told(wire.Epoch(epoch=epoch, held=False, died=self._watcher.died(call)))

    async def _is_taken_up(self, call: str, above: int) -> bool:
        """Whether this keeper sends an agent with an epoch above: before it has one, it would take the higher one."""
        kept = await self._store.get(call) if self._watcher.recovers(call) else None
        return kept is not None and kept.epoch > above

    def _held(self, call: str) -> int:
        """The epoch of the agent that is tethered and has `call`; 0 if none is."""
        epochs = [t.call.epoch for t in self._tethers if t.call.call == call and not t.silent and not t.superseded]
        return max(epochs, default=0)

    async def _tether(self, request: web.Request) -> web.WebSocketResponse:
        identity = await self.admit(request)
        socket = web.WebSocketResponse(autoping=False, compress=False, max_msg_size=wire.MAX_MESSAGE_BYTES)
        await socket.prepare(request)
        try:
            call = await self._introduced(socket, identity)
        except (WireError, TypeError, TimeoutError) as error:
            logger.warning("no call at %s: %s", request.remote, error or "no hello")
            await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=str(error).encode()[:100])
            return socket
        transport = request.transport
        if not isinstance(transport, asyncio.WriteTransport):
            return socket  # it closed meanwhile
        tether = _Tether(call, socket, transport, time.monotonic())
        self._tethers.add(tether)
        self._left.pop(call.call, None)
        self._watcher.on_call(call)
        keeping = asyncio.create_task(self._keep(tether), name=f"keep {call.call}")
        ending: Ending | None = None
        try:
            ending = await self._listen(tether)
        except WireError as error:
            logger.warning("a wrong message of call %s from %s: %s", call.call, call.pod, error)
        finally:
            self._tethers.discard(tether)
            keeping.cancel()
            self._gone(tether, ending)
        if ending in _FORGOTTEN_AFTER_SECONDS:
            if ending is Ending.CALLER_LEFT:
                self._note_left(call)
            await self._forget(call, _FORGOTTEN_AFTER_SECONDS[ending])
        await socket.close()
        return socket

    async def _introduced(self, socket: web.WebSocketResponse, identity: Identity) -> Tethered:
        message = wire.parse(await socket.receive_str(timeout=_HELLO_SECONDS))
        if not isinstance(message, wire.Hello):
            raise WireError("the first message is no hello")
        if identity.pod is not None and identity.pod != message.pod:
            raise WireError("the token is bound to another pod")
        return wire.tethered(message)

    async def _listen(self, tether: _Tether) -> Ending | None:
        """Everything that comes until the goodbye, or None when the connection ends without."""
        receive = tether.socket.receive
        while True:
            message = await receive()
            if message.type in {WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR}:
                return None
            tether.heard_at = time.monotonic()
            if tether.silent:
                tether.silent = False
                if not tether.superseded:
                    self._watcher.on_call(tether.call)
            if message.type is WSMsgType.PONG:
                continue
            if ending := await self._take(tether, message):
                return ending

    async def _take(self, tether: _Tether, message: WSMessage) -> Ending | None:
        if message.type is WSMsgType.PING:
            await tether.socket.pong(message.data)
        elif message.type is WSMsgType.BINARY:
            snapshot = wire.unpack_snapshot(message.data)
            if snapshot.stamp.epoch != tether.call.epoch:
                raise WireError("a snapshot of another epoch")
            tether.latest = snapshot
            tether.has_work.set()
        else:
            parsed = wire.parse(message.data)
            if isinstance(parsed, wire.Goodbye):
                return parsed.ending
            if isinstance(parsed, wire.State):
                self._watcher.on_state(tether.call, parsed.state)
        return None

    def _gone(self, tether: _Tether, ending: Ending | None) -> None:
        call = tether.call
        if ending is None and tether.superseded and not tether.silent:
            # It may have died before it could say so; as if it were there, nobody would look for who has the call.
            ending = Ending.SUPERSEDED
        if ending is not None:
            self._watcher.on_goodbye(call, ending)
        elif not (self._closing or tether.superseded or tether.forgotten or self._is_elsewhere(call)):
            self._watcher.on_lost(call, Loss.CLOSED)

    def _is_elsewhere(self, call: Tethered) -> bool:
        """Whether `call` has another connection: its successor's, or a newer one of its own."""
        return any(
            t.call.call == call.call and t.call.rank >= call.rank and not t.silent and not t.superseded
            for t in self._tethers
        )

    async def _keep(self, tether: _Tether) -> None:
        """Bring snapshots into the store, apart from listening: a store that hangs must not look like silence."""
        call = tether.call
        tether.has_work.set()
        while True:
            await tether.has_work.wait()
            tether.has_work.clear()
            try:
                if tether.latest is not None and await self._store.put(call.call, tether.latest):
                    continue
                kept = await self._store.get(call.call)
            except StoreError as error:
                logger.warning("the store does not have call %s yet: %s", call.call, error)
                tether.has_work.set()
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            if kept is not None and kept.epoch > call.epoch:
                await self._supersede(tether, kept.epoch)
                return

    def _note_left(self, call: Tethered) -> None:
        now = time.monotonic()
        self._left.pop(call.call, None)
        self._left[call.call] = call, now
        while self._left[oldest := next(iter(self._left))][1] < now - _FORGOTTEN_AFTER_SECONDS[Ending.CALLER_LEFT]:
            del self._left[oldest]

    async def _forget(self, call: Tethered, after: float) -> None:
        try:
            await self._store.delete(call.call, call.epoch, after)
        except StoreError as error:
            logger.warning("the snapshot of ended call %s stays until it expires: %s", call.call, error)

    async def _watching(self, _: web.Application) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._watch(), name="watch over silence")
        yield
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch

    async def _watch(self) -> None:
        pause = self._silence / _SWEEPS_PER_SILENCE
        while True:
            began = time.monotonic()
            await asyncio.sleep(pause)
            now = time.monotonic()
            if now - began > 2 * pause:
                # We were the ones that stood still: what was sent meanwhile has not been read yet.
                logger.warning("the keeper stood still for %.1f s; looking again", now - began - pause)
                continue
            for tether in list(self._tethers):
                self._look(tether, now - tether.heard_at)

    def _look(self, tether: _Tether, unheard: float) -> None:
        if unheard <= self._silence:
            return
        if not tether.silent:
            tether.silent = True
            if tether.superseded:
                self._watcher.on_goodbye(tether.call, Ending.SUPERSEDED)
            elif not self._is_elsewhere(tether.call):
                self._watcher.on_lost(tether.call, Loss.SILENT)
        elif unheard > _FORGET_SECONDS:
            tether.forgotten = True
            tether.transport.abort()

    async def _close_all(self, _: web.Application) -> None:
        self._closing = True
        closing = [t.socket.close(code=WSCloseCode.GOING_AWAY, message=b"keeper stops") for t in self._tethers]
        await asyncio.gather(*closing, return_exceptions=True)
