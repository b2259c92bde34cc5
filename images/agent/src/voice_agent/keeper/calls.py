"""`voice-agent calls`: the live calls as a keeper sees them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import aiohttp

from voice_agent.keeper.routes import CALLS_PATH
from voice_agent.settings import parse_keeper
from voice_agent.tether.client import credential

_COLUMNS = ("room", "caller", "pod", "epoch", "agent", "since")


async def main(environment: Mapping[str, str]) -> int:
    """Ask the keeper of this pod and print a table; returns the exit code."""
    settings, _ = parse_keeper(environment)
    url = f"http://127.0.0.1:{settings.keeper_port}{CALLS_PATH}"
    token = credential(settings.keeper_token_file, settings.keeper_secret)
    try:
        headers = {"Authorization": f"Bearer {token()}"}
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session, session.get(url) as answer:
            answer.raise_for_status()
            told = await answer.json()
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        sys.stderr.write(f"no keeper answers at {url}: {error}\nRun it in a keeper's pod: kubectl exec.\n")
        return 1
    sys.stdout.write(table(told["calls"], datetime.now(UTC)))
    return 0


def table(calls: list[dict[str, Any]], now: datetime) -> str:
    """The calls as text, the oldest first."""
    rows = [_COLUMNS]
    for call in sorted(calls, key=lambda call: str(call.get("began_at", ""))):
        agent = f"LOST ({call['lost']})" if call["lost"] else str(call.get("agent", ""))
        began = call.get("began_at")
        since = f"{(now - datetime.fromisoformat(began)).total_seconds():.0f} s" if began else ""
        rows.append((call["room"], call["caller"], call["pod"], str(call["epoch"]), agent, since))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"{len(calls)} calls"]) + "\n"
