"""The simulator's HTTP API for tests: what happened, and what shall happen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from aiohttp import web

from lab.gemini.config import Fault

if TYPE_CHECKING:
    from lab.gemini.server import Simulator


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise web.HTTPBadRequest(text="the body is not JSON\n") from None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object\n")
    return body


def routes(simulator: Simulator) -> web.RouteTableDef:
    """The API's paths; each returns JSON."""
    table = web.RouteTableDef()

    @table.get("/healthz")
    async def healthz(_: web.Request) -> web.Response:
        return web.json_response({"sessions": len(simulator.sessions)})

    @table.get("/sessions")
    async def sessions(_: web.Request) -> web.Response:
        return web.json_response([session.describe() for session in simulator.sessions])

    @table.get("/turns")
    async def turns(_: web.Request) -> web.Response:
        return web.json_response([asdict(turn) for turn in simulator.turns])

    @table.get("/faults")
    async def faults(_: web.Request) -> web.Response:
        return web.json_response([asdict(fault) for fault in simulator.faults])

    @table.post("/faults")
    async def add_fault(request: web.Request) -> web.Response:
        try:
            simulator.faults.append(Fault(**await _body(request)))
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        return web.json_response(asdict(simulator.faults[-1]), status=201)

    @table.delete("/faults")
    async def clear_faults(_: web.Request) -> web.Response:
        simulator.faults.clear()
        return web.json_response([])

    @table.patch("/behaviour")
    async def set_behaviour(request: web.Request) -> web.Response:
        try:
            simulator.behaviour.update(await _body(request))
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        return web.json_response(asdict(simulator.behaviour))

    @table.post("/sessions/next")
    async def next_session(request: web.Request) -> web.Response:
        behaviour = replace(simulator.behaviour)
        try:
            behaviour.update(await _body(request))
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        simulator.next_behaviours.append(behaviour)
        return web.json_response(asdict(behaviour), status=201)

    @table.patch("/sessions/{number}")
    async def set_session(request: web.Request) -> web.Response:
        number = request.match_info["number"]
        for session in simulator.sessions:
            if str(session.number) == number:
                try:
                    session.behaviour.update(await _body(request))
                except ValueError as error:
                    raise web.HTTPBadRequest(text=f"{error}\n") from None
                return web.json_response(asdict(session.behaviour))
        raise web.HTTPNotFound(text=f"there is no connection {number}\n")

    return table


@asynccontextmanager
async def admin_api(simulator: Simulator, host: str, port: int) -> AsyncIterator[int]:
    """Serve the API; yields the port that it listens on."""
    app = web.Application()
    app.add_routes(routes(simulator))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
