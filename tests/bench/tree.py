"""What a process and all that it has started have of the machine: processor time and memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Stat:
    """Of `/proc/PID/stat`, see proc(5)."""

    parent: int
    ticks: int


def tree_seconds(root: int) -> float:
    """CPU seconds, user's and system's, of the process, its descendants, and those of them that have ended.

    It never falls while the tree's inner processes live: who has ended counts in the one that waited for it.

    Raises:
        ProcessLookupError: there is no such process.
    """
    return sum(stat.ticks for stat in _tree(root).values()) / _TICKS_A_SECOND


def tree_mebibytes(root: int) -> float:
    """Memory in MiB of the process and its descendants; what several share counts once (PSS, see proc(5)).

    Raises:
        ProcessLookupError: there is no such process.
    """
    kibibytes = 0
    for pid in _tree(root):
        # One of them may end meanwhile.
        with suppress(FileNotFoundError, ProcessLookupError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            kibibytes += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return kibibytes / 1024


def _tree(root: int) -> dict[int, _Stat]:
    stats = dict(_all())
    if root not in stats:
        raise ProcessLookupError(f"no process {root}")
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    tree = [root]
    for pid in tree:
        tree += children.get(pid, [])
    return {pid: stats[pid] for pid in tree}


def _all() -> Iterator[tuple[int, _Stat]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and (stat := _read(folder)):
            yield int(folder.name), stat


def _read(folder: Path) -> _Stat | None:
    try:
        text = (folder / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name before the bracket may hold anything.
    fields = text.rpartition(")")[2].split()
    # utime, stime, cutime, cstime.
    return _Stat(parent=int(fields[1]), ticks=sum(map(int, fields[11:15])))
