"""HTTP for the kubelet and Prometheus, served by the process's own event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from voice_agent.settings import Problem, SettingsError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def probes(port: int, not_ready: Callable[[], str | None], host: str | None = None) -> AsyncIterator[int]:
    """Serve `/livez` and `/readyz` on `port` of `host`, by default of every address; yields the port.

    `/livez` answers while the event loop does, whatever the connection to LiveKit is like: restarting a pod
    for an outage of the signalling would end calls that still run. `/readyz` answers 503 with the reason while
    `not_ready` gives one.

    Raises:
        SettingsError: the port is taken.
    """

    async def livez(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        reason = not_ready()
        return web.Response(text=f"{reason or 'ok'}\n", status=503 if reason else 200)

    async with _serving("PROBE_PORT", host, port, {"/livez": livez, "/readyz": readyz}) as served:
        yield served


@asynccontextmanager
async def metrics(port: int, host: str | None = None) -> AsyncIterator[int]:
    """Serve `/metrics` on `port` of `host`, by default of every address; yields the port.

    Raises:
        SettingsError: the port is taken.
    """
    async with _serving("METRICS_PORT", host, port, {"/metrics": make_aiohttp_handler()}) as served:
        yield served


@asynccontextmanager
async def _serving(setting: str, host: str | None, port: int, routes: dict[str, Handler]) -> AsyncIterator[int]:
    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            problem = Problem(setting, str(port), f"the port cannot be used: {error.strerror}", "set it to a free port")
            raise SettingsError([problem]) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
