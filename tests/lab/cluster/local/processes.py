"""Long-running processes that outlive the command that started them.

Each is remembered by its process id and its start time, so that a process id that was
used again by the system is never taken for one of ours.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.cluster.base import ClusterError
from lab.cluster.local.packages import SEARCH_PATH

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Daemon:
    """What to run, and where."""

    name: str
    command: Sequence[str]
    netns: str | None = None
    """The network namespace it lives in; None is the host's."""
    cgroups: tuple[Path, ...] = ()
    """The cgroup folders that it joins, so that its children can be found however they were made."""

    @property
    def argv(self) -> list[str]:
        """The full command line.

        nsenter changes the network namespace only. ``ip netns exec`` would make a mount namespace
        too, and containerd would then not see the volumes that kubelet mounts.
        """
        enter = ["nsenter", f"--net=/run/netns/{self.netns}", "--"] if self.netns else []
        return [*enter, *self.command]


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None when it does not run (any more)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses and may hold anything (proc(5)).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log file."""
    if not log.exists():
        return "(no log)"
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


class Processes:
    """Starts, watches and ends daemons; their ids are in ``run``, their output in ``logs``."""

    def __init__(self, run: Path, logs: Path) -> None:
        self._run = run
        self._logs = logs
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def log(self, name: str) -> Path:
        """The log file of a daemon."""
        return self._logs / f"{name}.log"

    def names(self) -> list[str]:
        """Every daemon that was started and not ended by us."""
        return sorted(path.stem for path in self._run.glob("*.json"))

    def pid(self, name: str) -> int | None:
        """The process id of a running daemon; None when it does not run."""
        if child := self._children.get(name):
            child.poll()
        try:
            record = json.loads((self._run / f"{name}.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        pid = int(record["pid"])
        started = start_time(pid)
        # A daemon that ended before it was recorded has no start time, and nor has whoever is gone.
        return pid if started is not None and started == record["start_time"] else None

    def start(self, daemon: Daemon) -> None:
        """Start a daemon in a session of its own; does nothing when it runs."""
        if self.pid(daemon.name) is not None:
            return
        self._run.mkdir(parents=True, exist_ok=True)
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(daemon.name).open("ab") as log:
            process = subprocess.Popen(
                daemon.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={**os.environ, "PATH": SEARCH_PATH},
            )
        for cgroup in daemon.cgroups:
            (cgroup / "cgroup.procs").write_text(str(process.pid))
        record = {"pid": process.pid, "start_time": start_time(process.pid)}
        (self._run / f"{daemon.name}.json").write_text(json.dumps(record))
        self._children[daemon.name] = process

    def end(self, name: str, sign: signal.Signals = signal.SIGTERM) -> None:
        """Send one signal to a daemon if it runs."""
        if (pid := self.pid(name)) is not None:
            os.kill(pid, sign)

    def forget(self, name: str) -> None:
        """Drop the record of a daemon that has ended."""
        if child := self._children.pop(name, None):
            child.wait()
        (self._run / f"{name}.json").unlink(missing_ok=True)

    def wait_for(self, what: str, condition: Callable[[], object], seconds: float, watched: Sequence[str] = ()) -> None:
        """Wait until a condition holds, giving up early when a watched daemon dies.

        Raises:
            ClusterError: it did not come to hold; the message ends with the watched daemons' last lines.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            dead = [name for name in watched if self.pid(name) is None]
            if dead or time.monotonic() > deadline:
                reason = f"{', '.join(dead)} ended" if dead else f"not within {seconds:.0f} s"
                logs = [f"--- {self.log(name)}\n{tail(self.log(name))}" for name in dead or watched]
                raise ClusterError("\n".join([f"{what}: {reason}", *logs]))
            time.sleep(POLL_SECONDS)
