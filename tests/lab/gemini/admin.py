"""The simulator's HTTP API for tests: what happened, and what shall happen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.gemini.faults import Fault

if TYPE_CHECKING:
    from lab.gemini.server import Simulator

# Of GET /turns?count=: a client that gave up must not be waited for without end.
_LONGEST_WAIT_S = 600.0


@web.middleware
async def _name_what_is_wrong(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"{error}\n") from error


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise ValueError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise ValueError("the body is not a JSON object")  # noqa: TRY004 - a bad request, as any other
    return body


class _Admin:
    """The API's handlers; each answers with JSON."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthz),
            web.get("/sessions", self.sessions),
            web.post("/sessions/next", self.prepare_session),
            web.patch("/sessions/{connection}", self.change_session),
            web.get("/turns", self.turns),
            web.get("/faults", self.faults),
            web.post("/faults", self.add_fault),
            web.delete("/faults", self.clear_faults),
            web.get("/behaviour", self.behaviour),
            web.patch("/behaviour", self.change_behaviour),
        ]

    async def healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"open": len(self._simulator.open), "turns": len(self._simulator.turns)})

    async def sessions(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(record) for record in self._simulator.sessions])

    async def prepare_session(self, request: web.Request) -> web.Response:
        behaviour = replace(self._simulator.behaviour)
        behaviour.update(await _body(request))
        self._simulator.next_behaviours.append(behaviour)
        return web.json_response(asdict(behaviour), status=201)

    async def change_session(self, request: web.Request) -> web.Response:
        number = request.match_info["connection"]
        session = self._simulator.open.get(int(number)) if number.isdigit() else None
        if session is None:
            raise web.HTTPNotFound(text=f"connection {number} is not open: GET /sessions lists them\n")
        session.change(await _body(request))
        return web.json_response(asdict(session.behaviour))

    async def turns(self, request: web.Request) -> web.Response:
        count, seconds = int(request.query.get("count", 0)), float(request.query.get("timeout_s", 30))
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, _LONGEST_WAIT_S)):
                await self._simulator.wait_for_turns(count)
        return web.json_response([asdict(turn) for turn in self._simulator.turns])

    async def faults(self, _: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in self._simulator.faults])

    async def add_fault(self, request: web.Request) -> web.Response:
        fault = Fault.parse(await _body(request))
        await self._simulator.add_fault(fault)
        return web.json_response(asdict(fault), status=201)

    async def clear_faults(self, _: web.Request) -> web.Response:
        self._simulator.faults.clear()
        return web.json_response([])

    async def behaviour(self, _: web.Request) -> web.Response:
        return web.json_response(asdict(self._simulator.behaviour))

    async def change_behaviour(self, request: web.Request) -> web.Response:
        self._simulator.behaviour.update(await _body(request))
        return web.json_response(asdict(self._simulator.behaviour))


@asynccontextmanager
async def admin_api(simulator: Simulator, host: str, port: int) -> AsyncIterator[int]:
    """Serve the API; yields the port that it listens on."""
    app = web.Application(middlewares=[_name_what_is_wrong])
    app.add_routes(_Admin(simulator).routes())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
