"""`voice-agent worker | keeper | calls | check | settings`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from voice_agent import __version__, settings
from voice_agent.settings import SettingsError
from voice_agent.worker.exit_code import ExitCode


def main(arguments: list[str] | None = None) -> int:
    """Run one command and tell its exit code."""
    parser = argparse.ArgumentParser(
        prog="voice-agent", description="LiveKit voice agents on Kubernetes that never drop a call."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("worker", help="serve calls until SIGTERM, then drain")
    commands.add_parser("keeper", help="have other pods take up the calls of pods that died")
    commands.add_parser("calls", help="list the live calls, as a keeper sees them; run it in a keeper's pod")
    commands.add_parser("check", help="tell whether LiveKit, Gemini and the settings are in order")
    commands.add_parser("settings", help="print the tables of settings, as Markdown")
    command = parser.parse_args(arguments).command
    if command == "settings":
        sys.stdout.write(settings.markdown_tables())
        return ExitCode.OK
    with _loading():
        run = _COMMANDS[command]()
    try:
        return run()
    except SettingsError as error:
        sys.stderr.write(f"voice-agent cannot start: {error}\n")
        return ExitCode.SETTINGS


@contextmanager
def _loading() -> Iterator[None]:
    """Look for no garbage: nothing that imports make is any soon, and looking takes a good part of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# Each loads what it needs and no more: livekit-agents and google-genai alone take a second of processor time, which a
# keeper that is awaited, and the calls beside it, have no use for.


def _worker() -> Callable[[], int]:
    from voice_agent.preflight import preflight
    from voice_agent.worker import forkserver
    from voice_agent.worker.run import run

    # The calls' processes are forked, and share what is never looked through.
    gc.freeze()

    def work() -> int:
        # Before the team's agent is imported, and with it who knows what.
        with forkserver.forked() as processes:
            settings, own_model = preflight(os.environ)
            return run(settings, processes, own_model=own_model)

    return work


def _keeper() -> Callable[[], int]:
    from voice_agent.keeper import run as keeper

    return lambda: keeper.run(keeper.preflight(os.environ))


def _calls() -> Callable[[], int]:
    from voice_agent.keeper import calls

    return lambda: asyncio.run(calls.main(os.environ))


def _check() -> Callable[[], int]:
    from voice_agent import check

    return lambda: check.main(os.environ)


_COMMANDS = {"worker": _worker, "keeper": _keeper, "calls": _calls, "check": _check}
