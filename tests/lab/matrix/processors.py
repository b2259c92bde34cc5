"""How much of the machine is in use: the times of callers on a machine that is full are the machine's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Of the first line of /proc/stat, see proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
_FIELDS = slice(1, 9)
_IDLE = (3, 4)


@dataclass(frozen=True)
class ProcessorTime:
    """All processors' time since the machine's start, in ticks.

    Attributes:
        passed: in all.
        idle: with nothing to do.
    """

    passed: int
    idle: int

    @classmethod
    def now(cls, stat: Path = Path("/proc/stat")) -> ProcessorTime:
        """As the kernel has counted it until now."""
        ticks = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[_FIELDS]]
        return cls(sum(ticks), sum(ticks[at] for at in _IDLE))

    def busy_since(self, earlier: ProcessorTime) -> float:
        """The share of the time since an earlier moment that was in use, 0 to 1."""
        passed = self.passed - earlier.passed
        return 1 - (self.idle - earlier.idle) / passed if passed else 0.0
