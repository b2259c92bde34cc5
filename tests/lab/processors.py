"""How much of the machine is in use: the times of callers on a machine that is full are the machine's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.callers import StarvedError

# Of the first line of /proc/stat, see proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
_FIELDS = slice(1, 9)
_NICE, _IDLE = 1, (3, 4)
# Calls and pods that begin take some seven tenths of two cores; with hardly anything left, lateness says nothing.
FULL_RATIO = 0.9


@dataclass(frozen=True)
class ProcessorTime:
    """All processors' time since the machine's start, in ticks.

    Attributes:
        passed: in all.
        idle: with nothing to do.
        nice: with processes that leave them to others, by their niceness.
    """

    passed: int
    idle: int
    nice: int

    @classmethod
    def now(cls, stat: Path = Path("/proc/stat")) -> ProcessorTime:
        """As the kernel has counted it until now."""
        ticks = [int(field) for field in stat.read_text().split("\n", 1)[0].split()[_FIELDS]]
        return cls(sum(ticks), sum(ticks[at] for at in _IDLE), ticks[_NICE])

    def busy_since(self, earlier: ProcessorTime) -> float:
        """The share of the time since an earlier moment that was in use, 0 to 1."""
        passed = self.passed - earlier.passed
        return 1 - (self.idle - earlier.idle) / passed if passed else 0.0

    def taken_since(self, earlier: ProcessorTime) -> float:
        """The same without what nice processes used, which others could have had."""
        passed = self.passed - earlier.passed
        return self.busy_since(earlier) - (self.nice - earlier.nice) / passed if passed else 0.0


@contextmanager
def fails_as_starved(now: Callable[[], ProcessorTime] = ProcessorTime.now) -> Iterator[None]:
    """Have what fails while the machine is full tell so.

    Args:
        now: tells the processors' time.

    Raises:
        StarvedError: something was raised, and hardly any of the machine was left; it is the cause.
    """
    began = now()
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        taken = now().taken_since(began)
        if taken < FULL_RATIO or isinstance(error, StarvedError):
            raise
        raise StarvedError(f"{taken:.0%} of the machine was in use; {type(error).__name__}: {error}") from error
