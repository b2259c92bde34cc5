"""`voice-agent worker | check | settings`."""

from __future__ import annotations

import argparse
import os
import sys

from voice_agent import __version__, check, settings
from voice_agent.preflight import preflight
from voice_agent.settings import SettingsError
from voice_agent.worker.run import ExitCode, run


def main(arguments: list[str] | None = None) -> int:
    """Run one command and tell its exit code."""
    parser = argparse.ArgumentParser(
        prog="voice-agent", description="LiveKit voice agents on Kubernetes that never drop a call."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("worker", help="serve calls until SIGTERM, then drain")
    commands.add_parser("check", help="tell whether LiveKit, Gemini and the settings are in order")
    commands.add_parser("settings", help="print the table of settings, as Markdown")
    command = parser.parse_args(arguments).command
    if command == "settings":
        sys.stdout.write(settings.markdown_table())
        return ExitCode.OK
    if command == "check":
        return check.main(os.environ)
    try:
        return run(preflight(os.environ))
    except SettingsError as error:
        sys.stderr.write(f"voice-agent cannot start: {error}\n")
        return ExitCode.SETTINGS
