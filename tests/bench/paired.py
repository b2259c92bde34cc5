"""What two workers measured in alternating rounds say about each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from lab.callers import Latency

LATENCY_PROMISE_MS = 20
CPU_PROMISE = 1.05


@dataclass(frozen=True)
class Round:
    """One worker's calls in one round, and the others without calls meanwhile.

    Attributes:
        calls: how many at once.
        seconds: how long CPU was measured.
        cpu_s: CPU seconds of the worker that had the calls.
        idle_cpu_s: of each worker that had none, by name.
        latencies_s: reply latencies as the callers heard them, in seconds.
    """

    calls: int
    seconds: float
    cpu_s: float
    idle_cpu_s: dict[str, float]
    latencies_s: tuple[float, ...]

    @property
    def cores_per_call(self) -> float:
        """CPU seconds for each second of a call."""
        return self.cpu_s / self.seconds / self.calls


def table(ours: str, other: str, rounds: Sequence[dict[str, Round]]) -> str:
    """A Markdown table that compares two workers.

    Args:
        ours: the name of the one that promises something.
        other: the name of the one that it is compared with.
        rounds: by worker's name; what one entry holds is a pair, measured one right after the other.

    Raises:
        ValueError: a worker has no latencies: nothing was measured.
    """
    mine, theirs = _latency(ours, rounds), _latency(other, rounds)
    pairs = [each[ours].cores_per_call / each[other].cores_per_call for each in rounds]
    cores = {name: median(each[name].cores_per_call for each in rounds) for name in (ours, other)}
    idle = {name: _idle(name, rounds) for name in (ours, other)}
    middle = median(pairs)
    p50_ms = (mine.p50 - theirs.p50) * 1000
    rows = [
        [
            "reply latency p50",
            f"{mine.p50:.3f} s",
            f"{theirs.p50:.3f} s",
            f"{p50_ms:+.1f} ms {_promise('difference', p50_ms, LATENCY_PROMISE_MS, ' ms')}",
        ],
        ["reply latency p95", f"{mine.p95:.3f} s", f"{theirs.p95:.3f} s", f"{(mine.p95 - theirs.p95) * 1000:+.0f} ms"],
        ["CPU of a call, median", f"{cores[ours] * 1000:.1f} mcore", f"{cores[other] * 1000:.1f} mcore", ""],
        [
            "CPU, pair by pair: min / median / max",
            "",
            "",
            f"{min(pairs):.3f} / {middle:.3f} / {max(pairs):.3f} {_promise('median', middle, CPU_PROMISE, '')}",
        ],
        ["CPU without calls", f"{idle[ours] * 1000:.1f} mcore", f"{idle[other] * 1000:.1f} mcore", ""],
    ]
    lines = [["", ours, other, "difference"], ["---"] * 4, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _promise(what: str, value: float, most: float, unit: str) -> str:
    return f"({what} at most {most:g}{unit}: {'kept' if value <= most else 'BROKEN'})"


def _latency(name: str, rounds: Sequence[dict[str, Round]]) -> Latency:
    found = Latency.of([value for each in rounds for value in each[name].latencies_s])
    if found is None:
        raise ValueError(f"{name} has no latencies: nothing was measured")
    return found


def _idle(name: str, rounds: Sequence[dict[str, Round]]) -> float:
    """Cores that the worker took in the others' rounds."""
    others = [each for pair in rounds for each in pair.values() if name in each.idle_cpu_s]
    return sum(each.idle_cpu_s[name] for each in others) / sum(each.seconds for each in others)
