"""A keeper's life: serve tethers, have lost calls recovered, and leave at once when told to."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aiohttp import web
from livekit import api

from voice_agent.keeper.alone import AlwaysLeading, NoPeers, UnknownPods
from voice_agent.keeper.brain import Brain
from voice_agent.keeper.leader import Leader
from voice_agent.keeper.peers import OtherKeepers
from voice_agent.keeper.pods import FleetPods
from voice_agent.keeper.ports import Lead
from voice_agent.keeper.reach import Reach
from voice_agent.keeper.reconciliation import Reconciliation
from voice_agent.keeper.routes import Routes
from voice_agent.keeper.webhooks import WEBHOOKS_PATH, Webhooks
from voice_agent.kubernetes import ApiServer
from voice_agent.settings import KeeperSettings, Problem, SettingsError, StateStore, parse_keeper
from voice_agent.state.layered import LayeredStore
from voice_agent.state.memory import MemoryStore
from voice_agent.state.redis import RedisAddress, RedisStore
from voice_agent.state.store import Store
from voice_agent.telemetry import logs, metrics
from voice_agent.tether.auth import Authenticator, SharedSecret, TokenReviews
from voice_agent.tether.client import credential
from voice_agent.tether.server import TetherServer

logger = logging.getLogger(__name__)


def preflight(environment: Mapping[str, str]) -> KeeperSettings:
    """The settings in `environment`.

    Raises:
        SettingsError: with every problem there is.
    """
    settings, problems = parse_keeper(environment)
    if settings.state_store is StateStore.REDIS and settings.redis_url is not None:
        try:
            _address(settings).connect()
        except ValueError as error:
            fix = "set it to redis://, rediss:// or sentinel:// and the server's address"
            problems.append(Problem("REDIS_URL", settings.redis_url, str(error), fix))
    if problems:
        raise SettingsError(problems)
    return settings


def run(settings: KeeperSettings) -> int:
    """Keep until SIGTERM or SIGINT; returns the exit code.

    Raises:
        SettingsError: the port is taken.
    """
    logs.configure(settings)
    asyncio.run(_keep(settings))
    return 0


async def _keep(settings: KeeperSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        server = ApiServer(settings.pod_namespace) if settings.pod_namespace else None
        if server is not None:
            stack.push_async_callback(server.close)
        store = _store(settings)
        stack.push_async_callback(store.close)
        client = await stack.enter_async_context(_livekit(settings))
        pods = FleetPods(server, settings.fleet_selector) if server and settings.fleet_selector else None
        if pods:
            stack.push_async_callback(pods.close)
        peers = _peers(settings)
        leadership: Lead = AlwaysLeading()
        if server is not None and settings.lease_name:
            leadership = leader = Leader(server, settings.lease_name, settings.pod_name, peers.leads)
            await stack.enter_async_context(_running(leader.run(), "lease"))
        else:
            metrics.KEEPER_LEADING.set(1)
        brain = Brain(client, store, leadership, pods or UnknownPods(), peers, settings.agent_name)
        reconciliation = Reconciliation(client, settings.agent_name, brain, leadership, peers)
        tethers = TetherServer(store, _authenticator(settings, server), brain)
        brain.attach(tethers)
        webhooks = Webhooks(
            settings.livekit_api_key,
            settings.livekit_api_secret.get_secret_value(),
            reconciliation.agent_left,
            leadership,
            peers.pass_on,
        )
        # Of its own: where a hundred requests of recoveries wait for a connection, LiveKit is not out of reach.
        reach = Reach(await stack.enter_async_context(_livekit(settings)), leadership, peers.reach_livekit)
        app = Routes(tethers, brain, leadership, reach, pods, settings.call_slots).application()
        app.add_routes([web.post(WEBHOOKS_PATH, webhooks.take)])
        await stack.enter_async_context(_serving(app, settings.keeper_port))
        await stack.enter_async_context(_running(brain.run(), "brain"))
        await stack.enter_async_context(_running(reconciliation.run(), "reconciliation"))
        await stack.enter_async_context(_running(reach.run(), "reach"))
        await stop.wait()
        logger.info("leaving; the calls and the other keepers go on")


def _peers(settings: KeeperSettings) -> OtherKeepers | NoPeers:
    if settings.keeper_peers is None:
        return NoPeers()
    return OtherKeepers(
        settings.keeper_peers, settings.pod_ip, credential(settings.keeper_token_file, settings.keeper_secret)
    )


def _authenticator(settings: KeeperSettings, server: ApiServer | None) -> Authenticator:
    if settings.keeper_secret is not None or server is None:
        return SharedSecret(settings.keeper_secret.get_secret_value() if settings.keeper_secret else "")
    accounts = [each.strip() for each in (settings.fleet_service_accounts or "").split(",")]
    return TokenReviews(server, accounts)


def _store(settings: KeeperSettings) -> Store:
    if settings.state_store is not StateStore.REDIS:
        return MemoryStore()
    return LayeredStore(MemoryStore(), RedisStore(_address(settings).connect()))


def _address(settings: KeeperSettings) -> RedisAddress:
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    return RedisAddress(settings.redis_url or "", password, ca_file=settings.redis_ca_file)


@asynccontextmanager
async def _livekit(settings: KeeperSettings) -> AsyncIterator[api.LiveKitAPI]:
    secret = settings.livekit_api_secret.get_secret_value()
    async with api.LiveKitAPI(settings.livekit_url, settings.livekit_api_key, secret) as client:
        yield client


@asynccontextmanager
async def _running(work: Coroutine[None, None, None], name: str) -> AsyncIterator[None]:
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def _serving(app: web.Application, port: int) -> AsyncIterator[None]:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, None, port).start()
        except OSError as error:
            problem = Problem("KEEPER_PORT", str(port), f"it cannot be used: {error.strerror}", "set it to a free port")
            raise SettingsError([problem]) from error
        logger.info("keeping on port %d", runner.addresses[0][1])
        yield
    finally:
        with suppress(TimeoutError):
            await runner.cleanup()
