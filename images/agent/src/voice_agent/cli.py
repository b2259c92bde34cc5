"""`voice-agent worker | keeper | calls | check | settings`."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys

from voice_agent import __version__, check, settings
from voice_agent.keeper import calls
from voice_agent.keeper import run as keeper
from voice_agent.preflight import preflight
from voice_agent.settings import SettingsError
from voice_agent.worker import forkserver
from voice_agent.worker.run import ExitCode, run


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
    if command == "check":
        return check.main(os.environ)
    try:
        if command == "keeper":
            return keeper.run(keeper.preflight(os.environ))
        if command == "calls":
            return asyncio.run(calls.main(os.environ))
        # Before the team's agent is imported, and with it who knows what.
        with forkserver.forked() as processes:
            return run(preflight(os.environ), processes)
    except SettingsError as error:
        sys.stderr.write(f"voice-agent cannot start: {error}\n")
        return ExitCode.SETTINGS
