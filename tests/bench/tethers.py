"""What tethers cost a keeper, and how often starvation of CPU looks like a dead node.

python tests/bench/tethers.py load        # CPU of one keeper with 2,000 tethers
python tests/bench/tethers.py starvation  # false alarms by the time that counts as silence
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import aiohttp
from aiohttp import web
from pydantic import JsonValue

from voice_agent.state.memory import MemoryStore
from voice_agent.state.store import Snapshot, Stamp
from voice_agent.tether import wire
from voice_agent.tether.auth import SharedSecret
from voice_agent.tether.client import HEARTBEAT_SECONDS, Tether
from voice_agent.tether.server import SILENCE_SECONDS, TetherServer
from voice_agent.tether.wire import Ending, Loss, Tethered

SECRET = "bench"  # noqa: S105 - protects nothing
CALL = Tethered("room", "RM", "caller", 1, "AJ", "AD", "pod", "node", "agent", "voice-agent")
THRESHOLDS = (0.75, 1.0, 1.5, 2.0, 3.0)
# One turn in ten seconds, with the snapshot of a conversation of some minutes.
TURN_SECONDS = 10.0
SNAPSHOT_BYTES = 8 * 1024
CONNECTING_AT_ONCE = 50


class Counting:
    """A watcher that counts."""

    def __init__(self) -> None:
        self.calls = self.silent = self.closed = 0

    def on_call(self, call: Tethered) -> None:
        """One more."""
        self.calls += 1

    def on_state(self, call: Tethered, state: dict[str, JsonValue]) -> None:
        """Not counted."""

    def on_lost(self, call: Tethered, loss: Loss) -> None:
        """One fewer."""
        if loss is Loss.SILENT:
            self.silent += 1
        else:
            self.closed += 1

    def on_goodbye(self, call: Tethered, ending: Ending) -> None:
        """Not counted."""

    def died(self, call: str) -> int:
        """Nobody asks."""
        return 0

    def recovers(self, call: str) -> bool:
        """Nobody asks."""
        return False


async def keep(thresholds: list[float]) -> None:
    """Run one keeper for each threshold in this process; tell their URLs, and at each line of input the counts."""
    counts, urls = [], []
    for threshold in thresholds:
        counting = Counting()
        app = TetherServer(MemoryStore(), SharedSecret(SECRET), counting, threshold).application()
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        counts.append(counting)
        urls.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
    print(json.dumps(urls), flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(json.dumps([vars(counting) for counting in counts]), flush=True)


async def job(number: int, url: str) -> None:
    """A call whose process always has something else to do: Python that keeps the interpreter's lock."""
    async with Tether(replace(CALL, room_sid=f"RM_{number}"), url, lambda: SECRET, lambda _: None):
        while True:
            busy_until = time.monotonic() + 0.02
            while time.monotonic() < busy_until:
                pass
            await asyncio.sleep(0)


@contextmanager
def process(*arguments: str, core: int | None = None) -> Iterator[subprocess.Popen[str]]:
    """This file as another process, on one core only if `core` is given."""
    command = [sys.executable, __file__, *arguments]
    pinned = ["taskset", "--cpu-list", str(core), *command] if core is not None else command
    with subprocess.Popen(pinned, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def _read(keeper: subprocess.Popen[str]) -> list[dict[str, int]]:
    assert keeper.stdin is not None  # noqa: S101
    assert keeper.stdout is not None  # noqa: S101
    keeper.stdin.write("\n")
    keeper.stdin.flush()
    counts: list[dict[str, int]] = json.loads(keeper.stdout.readline())
    return counts


def _urls(keeper: subprocess.Popen[str]) -> list[str]:
    assert keeper.stdout is not None  # noqa: S101
    urls: list[str] = json.loads(keeper.stdout.readline())
    return urls


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _simulated(
    session: aiohttp.ClientSession, url: str, number: int, gate: asyncio.Semaphore, sent: list[int]
) -> None:
    call = replace(CALL, room_sid=f"RM_{number}")
    headers = {"Authorization": f"Bearer {SECRET}"}
    async with gate:
        connection = await session.ws_connect(f"{url}{wire.TETHER_PATH}", headers=headers)
        await connection.send_str(wire.hello(call).model_dump_json())
    due = time.monotonic() + random.uniform(0, TURN_SECONDS)  # noqa: S311
    sequence = 0
    sealed = os.urandom(SNAPSHOT_BYTES)
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        sent[0] += 1
        if time.monotonic() < due:
            await connection.pong()
        else:
            sequence, due = sequence + 1, due + TURN_SECONDS
            await connection.send_bytes(wire.pack_snapshot(Snapshot(Stamp(1, sequence), sealed)))


async def load(tethers: int, seconds: float) -> None:
    """Print the CPU that one keeper needs for so many tethers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with process("keep", str(SILENCE_SECONDS)) as keeper:
        [url] = _urls(keeper)
        sent = [0]
        gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            began = time.monotonic()
            tasks = [asyncio.create_task(_simulated(session, url, number, gate, sent)) for number in range(tethers)]
            while _read(keeper)[0]["calls"] < tethers:  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.2)
            print(f"{tethers} tethers connected in {time.monotonic() - began:.1f} s")
            before, began, sent[0] = _cpu_seconds(keeper.pid), time.monotonic(), 0
            await asyncio.sleep(seconds)
            used, took = _cpu_seconds(keeper.pid) - before, time.monotonic() - began
            [counts] = _read(keeper)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    print(f"keeper: {used / took:.3f} core over {took:.0f} s, {sent[0] / took:.0f} messages a second")
    print(f"each tether: a message each {HEARTBEAT_SECONDS:g} s, {SNAPSHOT_BYTES // 1024} KiB each {TURN_SECONDS:g} s")
    print(f"false alarms: {counts['silent']} silent, {counts['closed']} closed")


def starvation(jobs: int, seconds: float, keeper_too: bool) -> None:
    """Print how many live calls are taken for silent, with all of them on one core that they all want whole."""
    core = min(os.sched_getaffinity(0))
    with process("keep", *map(str, THRESHOLDS), core=core if keeper_too else None) as keeper:
        urls = ",".join(_urls(keeper))
        running = [process("job", str(number), urls, core=core) for number in range(jobs)]
        try:
            for each in running:
                each.__enter__()
            deadline = time.monotonic() + 300
            while any(counts["calls"] < jobs for counts in _read(keeper)):
                if time.monotonic() > deadline:
                    raise TimeoutError("the calls did not all connect in 300 s")
                time.sleep(0.5)
            before = _read(keeper)
            time.sleep(seconds)
            after = _read(keeper)
        finally:
            for each in running:
                each.__exit__(None, None, None)
    hours = jobs * seconds / 3600
    who = "calls and keeper" if keeper_too else "calls"
    print(
        f"{jobs} busy {who} on one core ({100 / jobs:.0f} % of a core each) for {seconds:g} s = {hours:.2f} call-hours"
    )
    print("| silence (s) | false alarms | per call-hour |\n|---|---|---|")
    for threshold, first, last in zip(THRESHOLDS, before, after, strict=True):
        alarms = last["silent"] - first["silent"]
        print(f"| {threshold:g} | {alarms} | {alarms / hours:.2f} |")


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    loading = commands.add_parser("load")
    loading.add_argument("--tethers", type=int, default=2000)
    loading.add_argument("--seconds", type=float, default=30)
    starving = commands.add_parser("starvation")
    starving.add_argument("--jobs", type=int, default=20)
    starving.add_argument("--seconds", type=float, default=120)
    starving.add_argument("--keeper-too", action="store_true", help="the keeper on the same core")
    commands.add_parser("keep").add_argument("thresholds", type=float, nargs="+")
    one = commands.add_parser("job")
    one.add_argument("number", type=int)
    one.add_argument("url")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    match chosen.command:
        case "load":
            asyncio.run(load(chosen.tethers, chosen.seconds))
        case "starvation":
            starvation(chosen.jobs, chosen.seconds, chosen.keeper_too)
        case "keep":
            asyncio.run(keep(chosen.thresholds))
        case "job":
            asyncio.run(job(chosen.number, chosen.url))


if __name__ == "__main__":
    main()
