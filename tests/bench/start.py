"""What the start of our worker costs beside that of a plain livekit-agents worker, on this machine, in one run.

python tests/bench/start.py             # about 2 minutes

They start in turns, one at a time, and are measured once they rest: registered, with three processes that wait for
calls. A pod that is replaced starts on a node that carries other pods' calls.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from statistics import median

from bench.overhead import AS_OURS, OURS, PLAIN, machine, plain_worker
from bench.tree import tree_mebibytes, tree_seconds
from lab.gemini import Simulator, simulator
from lab.livekit import LiveKit, livekit_server
from lab.worker import Worker, environment, worker

# A worker that uses less of a core than this, for a second, rests.
_AT_REST = 0.05
_REST_SECONDS = 60.0


@dataclass(frozen=True)
class Start:
    """One start.

    Attributes:
        registered_s: seconds from the process's start until LiveKit may send calls to it.
        cpu_s: CPU seconds until it rests.
        memory_mib: what it has then, of memory that its processes share once.
    """

    registered_s: float
    cpu_s: float
    memory_mib: float


def _worker(name: str, livekit: LiveKit, gemini: Simulator) -> AbstractAsyncContextManager[Worker]:
    if name == PLAIN:
        return plain_worker(livekit, gemini, PLAIN, AS_OURS)
    return worker({**environment(livekit, gemini), "AGENT_NAME": OURS}, pod="bench")


async def _start(name: str, livekit: LiveKit, gemini: Simulator) -> Start:
    began = time.monotonic()
    async with _worker(name, livekit, gemini) as running:
        await running.logged("registered worker")
        registered = time.monotonic() - began
        async with asyncio.timeout(_REST_SECONDS):
            used = 0.0
            while (now := tree_seconds(running.pid)) - used >= _AT_REST:
                used = now
                await asyncio.sleep(1)
        return Start(registered, now, tree_mebibytes(running.pid))


def table(starts: Sequence[dict[str, Start]]) -> str:
    """A Markdown table of both workers' medians, and of the median ratio of the pairs.

    Args:
        starts: by worker's name; what one entry holds is a pair, measured one right after the other.
    """
    rows = [["", OURS, PLAIN, "ratio, pair by pair"], ["---"] * 4]
    for title, name, unit in (
        ("until registered", "registered_s", "s"),
        ("CPU until at rest", "cpu_s", "s"),
        ("memory at rest (PSS)", "memory_mib", "MiB"),
    ):
        values = {worker: [getattr(each[worker], name) for each in starts] for worker in (OURS, PLAIN)}
        ratio = median(ours / plain for ours, plain in zip(values[OURS], values[PLAIN], strict=True))
        rows.append([title, *(f"{median(values[worker]):.3g} {unit}" for worker in values), f"{ratio:.2f}"])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


async def _measure(pairs: int) -> list[dict[str, Start]]:
    starts: list[dict[str, Start]] = []
    with livekit_server() as livekit:
        async with simulator() as gemini:
            for number in range(pairs + 1):
                pair = {name: await _start(name, livekit, gemini) for name in (OURS, PLAIN)}
                # The first ones compile what Python has not, and read it from the disk.
                starts += [pair] if number else []
                print(f"· {number} of {pairs} pairs{'' if number else ': warmed up'}", flush=True)
    return starts


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="of starts")
    starts = asyncio.run(_measure(parser.parse_args().pairs))
    print(f"\n{table(starts)}\n\n{len(starts)} pairs, three processes that wait for calls each.\n{machine()}.")


if __name__ == "__main__":
    main()
