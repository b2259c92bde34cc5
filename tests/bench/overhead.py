"""What our worker costs beside a plain livekit-agents worker, on this machine, in one run.

python tests/bench/overhead.py            # about 8 minutes
python tests/bench/overhead.py --quick    # about 2 minutes, for a look

Both workers stay up and take turns in having calls, so that whatever the machine does meanwhile meets both; their
calls never run at the same time. The worker's CPU is that of all of its processes, without callers, servers, keepers.
The plain worker is configured as ours is: else livekit-agents' own voice activity detection and the models that it
loads, which Gemini makes needless, would hide what we cost. `--default` adds one that has them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from cryptography.fernet import Fernet
from livekit import api

from bench.paired import Round, table
from bench.tree import tree_seconds
from lab.baseline import WORKER
from lab.callers import CallFleet, CallPlan, StarvedError, Summary, assert_ok
from lab.gemini import Simulator, simulator
from lab.keeper import SECRET, keeper
from lab.livekit import LiveKit, livekit_server
from lab.paths import tool
from lab.ports import free_port
from lab.worker import Worker, environment, worker

OURS, PLAIN, DEFAULT = "voice-agent", "plain", "plain by default"
# The choices of our image that are not its own work. The models that livekit-agents loads would be of no use, and make
# its memory monitor dearer.
AS_OURS = {"VAD": "none", "IDLE_PROCESSES": "3", "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE": "0"}
# Of a core: what two workers that wait for calls are far below, and a process that starts is far above.
_AT_REST = 0.08
_REST_SECONDS = 120.0
_ATTEMPTS = 3
_LIBRARIES = ("livekit-agents", "livekit-plugins-google", "livekit", "google-genai")


@dataclass
class Bench:
    """The servers, and the workers by name.

    Attributes:
        livekit: the server that all of them use.
        calls: how many calls a round has.
        answers: how many answers of each call a round measures.
        workers: those that take turns.
    """

    livekit: LiveKit
    calls: int
    answers: int
    workers: dict[str, Worker] = field(default_factory=dict)

    async def round(self, name: str, number: int) -> Round:
        """Hold calls with one worker; again if the machine stood still.

        Raises:
            AssertionError: something was wrong with a call.
            StarvedError: the machine stood still each time.
        """
        for _ in range(_ATTEMPTS - 1):
            try:
                return await self._round(name, number)
            except StarvedError as starved:
                print(f"· round {number}, {name}: again: {starved}", flush=True)
        return await self._round(name, number)

    async def _round(self, name: str, number: int) -> Round:
        agent = _agent(name)
        room = f"{agent}-{number}-{time.monotonic_ns()}"
        plan = CallPlan(
            self.livekit.url,
            self.livekit.key,
            self.livekit.secret,
            room=room,
            agent_name=agent,
            seed=number,
            pause_s=0.6,
        )
        await self._rest()
        async with CallFleet(plan, self.calls) as fleet:
            await fleet.all_answering()
            # By then the process that replaces the one that took the call is up.
            await fleet.more_answers(1)
            before, began = self._cpu(), time.monotonic()
            await fleet.more_answers(self.answers)
            after, seconds = self._cpu(), time.monotonic() - began
            reports = await fleet.finish()
        await self._close([plan.numbered(call).room for call in range(1, self.calls + 1)])
        assert_ok(reports)
        used = {each: after[each] - before[each] for each in after}
        latencies = tuple(turn.latency_s for report in reports for turn in report.turns[1:] if turn.latency_s)
        measured = Round(self.calls, seconds, used.pop(name), used, latencies)
        latency = Summary.of(reports).latency
        print(
            f"· round {number}, {name}: {seconds:.0f} s, {len(latencies)} answers, p50 "
            f"{latency.p50 if latency else 0:.3f} s, {measured.cores_per_call * 1000:.1f} mcore a call; load "
            f"{os.getloadavg()[0]:.1f}",
            flush=True,
        )
        return measured

    def _cpu(self) -> dict[str, float]:
        return {name: tree_seconds(each.pid) for name, each in self.workers.items()}

    async def _rest(self) -> None:
        """Wait until no worker starts or ends a process any more."""
        async with asyncio.timeout(_REST_SECONDS):
            while True:
                before = self._cpu()
                await asyncio.sleep(1)
                after = self._cpu()
                if all(after[name] - before[name] < _AT_REST for name in after):
                    return

    async def _close(self, rooms: list[str]) -> None:
        """A plain worker's job lasts as long as its room: 20 s after the caller has left."""
        async with api.LiveKitAPI(self.livekit.url, self.livekit.key, self.livekit.secret) as client:
            for room in rooms:
                await client.room.delete_room(api.DeleteRoomRequest(room=room))


@asynccontextmanager
async def bench(chosen: argparse.Namespace) -> AsyncIterator[Bench]:
    """Servers and workers for as long as the context lasts."""
    async with AsyncExitStack() as stack:
        livekit = stack.enter_context(livekit_server())
        gemini = await stack.enter_async_context(simulator())
        running = Bench(livekit, chosen.calls, chosen.answers)
        settings = await _keepers(stack, livekit) if chosen.keepers else {}
        ours = {**environment(livekit, gemini), **settings, "AGENT_NAME": OURS, "CALL_SLOTS": str(chosen.calls)}
        running.workers[OURS] = await stack.enter_async_context(worker(ours, pod="bench"))
        running.workers[PLAIN] = await _plain(stack, livekit, gemini, PLAIN, AS_OURS)
        if chosen.default:
            running.workers[DEFAULT] = await _plain(stack, livekit, gemini, DEFAULT, {})
        await running.workers[OURS].ready()
        yield running


async def _plain(
    stack: AsyncExitStack, livekit: LiveKit, gemini: Simulator, name: str, options: Mapping[str, str]
) -> Worker:
    running = await stack.enter_async_context(plain_worker(livekit, gemini, _agent(name), options))
    await running.logged("registered worker")
    return running


def plain_worker(
    livekit: LiveKit, gemini: Simulator, agent: str, options: Mapping[str, str]
) -> AbstractAsyncContextManager[Worker]:
    """A plain livekit-agents worker with the same agent.

    Args:
        livekit: its server.
        gemini: its model.
        agent: the name by which calls come to it.
        options: its settings besides.
    """
    # Two workers share the machine, and calls come to either by name: slots that are never full.
    own = {"AGENT_NAME": agent, "CALL_SLOTS": "100", "HEALTH_PORT": str(free_port())}
    return worker({**environment(livekit, gemini), **own, **options}, program=(str(WORKER), "start"))


async def _keepers(stack: AsyncExitStack, livekit: LiveKit) -> Mapping[str, str]:
    """Two keepers as the chart runs them; returns what a worker needs to be tethered to them."""
    ports = [free_port(), free_port()]
    for number, port in enumerate(ports):
        await stack.enter_async_context(keeper(environment(livekit), port=port, name=f"keeper-{number}"))
    return {
        "KEEPER_URL": ",".join(f"http://127.0.0.1:{port}" for port in ports),
        "KEEPER_SECRET": SECRET,
        "STATE_KEYS": Fernet.generate_key().decode(),
    }


def _agent(name: str) -> str:
    """The agent name of the worker of this name."""
    return name.replace(" ", "-")


def machine() -> str:
    """On what it was measured, in a line."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    server = subprocess.run([tool("livekit-server"), "--version"], capture_output=True, text=True, check=True)
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({cpu}), Linux {platform.release()}, Python {platform.python_version()}, {libraries}, "
        f"{server.stdout.strip()}"
    )


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


async def run(chosen: argparse.Namespace) -> None:
    """Measure, and print the tables; of the pairs that there are, if it is stopped or fails."""
    if measuring := asyncio.current_task():
        # Else the workers, which have sessions of their own, would outlive a run that is stopped.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, measuring.cancel)
    rounds: list[dict[str, Round]] = []
    try:
        await _measure(chosen, rounds)
    finally:
        if rounds:
            _show(chosen, rounds)


async def _measure(chosen: argparse.Namespace, rounds: list[dict[str, Round]]) -> None:
    began = time.monotonic()
    print("· starting servers and workers", flush=True)
    async with bench(chosen) as running:
        names = list(running.workers)
        for number in range(1, chosen.rounds + 1):
            # What comes first in a pair may be at an advantage: they take turns in that, too.
            order = names if number % 2 else names[::-1]
            rounds.append({name: await running.round(name, number) for name in order})
            print(f"· {number} of {chosen.rounds} rounds done after {time.monotonic() - began:.0f} s", flush=True)


def _show(chosen: argparse.Namespace, rounds: list[dict[str, Round]]) -> None:
    answers = {name: sum(len(each[name].latencies_s) for each in rounds) for name in rounds[0]}
    for other in [name for name in answers if name != OURS]:
        print(f"\n{table(OURS, other, rounds)}")
    kept = "tethered to two keepers, snapshots sealed" if chosen.keepers else "without keepers"
    told = ", ".join(f"{count} of {name}" for name, count in answers.items())
    print(f"\n{len(rounds)} of {chosen.rounds} rounds, {chosen.calls} calls at once, answers: {told}; {OURS}: {kept}.")
    print(f"{machine()}.")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="pairs of rounds")
    parser.add_argument("--calls", type=int, default=2, help="calls at once")
    parser.add_argument("--answers", type=int, default=6, help="answers of each call that a round measures")
    parser.add_argument("--no-keepers", dest="keepers", action="store_false", help="our worker without keepers")
    parser.add_argument(
        "--default",
        action="store_true",
        help="a third worker: a plain one by default, with livekit-agents' VAD and a warm process for each core",
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds of 3 answers")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.answers = 2, 3
    try:
        asyncio.run(run(chosen))
    except asyncio.CancelledError:
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    main()
