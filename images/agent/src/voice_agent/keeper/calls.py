"""`voice-agent calls`: the live calls, how they came to their pods, and the pods, as a keeper sees them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import aiohttp

from voice_agent.keeper.routes import CALLS_PATH
from voice_agent.settings import parse_keeper
from voice_agent.tether.client import credential

_CALLS = ("room", "caller", "pod", "epoch", "agent", "since", "last move")
_PODS = ("pod", "calls", "slots")
_MOVES = ("room", "to", "move")


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
    sys.stdout.write(text(told, datetime.now(UTC)))
    return 0


def text(told: Mapping[str, Any], now: datetime) -> str:
    """What `CALLS_PATH` answers, for people; the calls with the oldest first."""
    calls = []
    for call in sorted(told["calls"], key=lambda call: str(call.get("began_at", ""))):
        agent = f"LOST ({call['lost']})" if call["lost"] else str(call.get("agent", ""))
        began = call.get("began_at")
        since = _age(began, now) if began else ""
        move = _move(call["move"], now) if call["move"] else ""
        calls.append((call["room"], call["caller"], call["pod"], str(call["epoch"]), agent, since, move))
    pods = [(each["pod"], str(each["calls"]), str(each["slots"])) for each in told["pods"]]
    parts = [
        _table(_CALLS, calls) + f"{len(calls)} calls\n",
        _table(_PODS, pods),
        "this keeper leads\n" if told["leading"] else "this keeper does not lead\n",
    ]
    if told["past_moves"]:
        moves = [(move["room"], move["to"], _move(move, now)) for move in told["past_moves"]]
        parts.insert(2, "calls that are over\n" + _table(_MOVES, moves))
    return "\n".join(parts)


def _move(move: Mapping[str, Any], now: datetime) -> str:
    return f"{_age(move['at'], now)} ago from {move['from']}, {move['why']}, took {move['seconds']:.1f} s"


def _age(then: str, now: datetime) -> str:
    return f"{(now - datetime.fromisoformat(then)).total_seconds():.0f} s"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rows = [columns, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)
