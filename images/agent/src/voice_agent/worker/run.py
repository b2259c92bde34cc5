"""A worker's life: start, serve, drain, leave."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from contextlib import nullcontext
from multiprocessing.context import BaseContext

from voice_agent.call.keeping import credential_of
from voice_agent.settings import Settings
from voice_agent.telemetry import logs, traces
from voice_agent.worker.drain import EXIT_SECONDS, Drain, Report
from voice_agent.worker.exit_code import ExitCode
from voice_agent.worker.probes import metrics, probes
from voice_agent.worker.server import CallServer
from voice_agent.worker.standing import Standing

logger = logging.getLogger(__name__)


def run(settings: Settings, processes: BaseContext, *, own_model: bool) -> ExitCode:
    """Serve calls until SIGTERM or SIGINT, then drain.

    Args:
        processes: how to make a call's process.
        own_model: whether the agent brings its model.

    Raises:
        SettingsError: a port is taken.
    """
    logs.configure(settings)
    traces.start(settings)
    if settings.keeper_url is None:
        logger.warning("KEEPER_URL is not set: the calls of this pod are lost if it dies")
    elif settings.state_keys is None:
        logger.warning("STATE_KEYS is not set: snapshots of calls, with what was said, are not encrypted")
    return asyncio.run(_serve(settings, processes, asks_gemini=not own_model))


async def _serve(settings: Settings, processes: BaseContext, *, asks_gemini: bool) -> ExitCode:
    kept = settings.keeper_url is not None
    drain = Drain(settings.drain_timeout_seconds, settings.drain_finish_within_seconds, kept=kept)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, drain.ask, number.name)
    standing = None
    if settings.keeper_url is not None:
        standing = Standing(settings.keeper_url, settings.pod_name, credential_of(settings), drain.expect_kill)
    server = CallServer(settings, drain, processes, standing, asks_gemini=asks_gemini)
    started = asyncio.Event()
    server.on("worker_started", started.set)

    async with (
        server.jobs.listening(),
        probes(settings.probe_port, server.not_ready),
        metrics(settings.metrics_port),
        standing.watching() if standing else nullcontext(),
    ):
        serving = asyncio.create_task(server.run(), name="serving")
        asked = asyncio.create_task(_both(started, drain), name="asked to drain")
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            asked.cancel()
            logger.critical("the worker stopped by itself", exc_info=serving.exception())
            return ExitCode.CRASHED
        return _leave(await drain.run(server))


async def _both(started: asyncio.Event, drain: Drain) -> None:
    # A server that is still starting cannot be drained; it takes no calls either.
    await drain.until_asked()
    await started.wait()


def _leave(report: Report) -> ExitCode:
    code = ExitCode.CALLS_LOST if report.lost else ExitCode.OK
    logger.log(
        logging.ERROR if report.lost else logging.INFO,
        "%s; leaving with exit code %d",
        report,
        code,
        extra={
            "finished": report.finished,
            "moved": report.moved,
            "cut": report.cut,
            "failed": report.failed,
            "seconds": report.seconds,
        },
    )
    # Whatever hangs now, a connection, an exporter, the thread that waits for a process: the grace is over soon.
    leaving = threading.Timer(EXIT_SECONDS, os._exit, [code])
    leaving.daemon = True
    leaving.start()
    return code
