"""Daemons are started, recognised and ended without ever touching somebody else's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.cluster import ClusterError
from lab.cluster.local.processes import Daemon, Processes, start_time

SLEEP = Daemon("sleeper", ["sleep", "600"])


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    processes = Processes(tmp_path / "run", tmp_path / "logs")
    yield processes
    for name in processes.names():
        processes.end(name, signal.SIGKILL)
        processes.forget(name)


def test_a_daemon_outlives_the_program_that_started_it(tmp_path: Path, processes: Processes) -> None:
    program = (
        "import sys; from pathlib import Path; from lab.cluster.local.processes import *;"
        "Processes(Path(sys.argv[1]) / 'run', Path(sys.argv[1]) / 'logs')"
        ".start(Daemon('sleeper', ['sleep', '600']))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    pid = processes.pid("sleeper")
    assert pid is not None
    assert os.getsid(pid) == pid


def test_starting_twice_starts_once(processes: Processes) -> None:
    processes.start(SLEEP)
    first = processes.pid("sleeper")
    processes.start(SLEEP)
    assert processes.pid("sleeper") == first


def test_a_daemon_that_ended_before_it_was_recorded_does_not_run(tmp_path: Path, processes: Processes) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "sleeper.json").write_text(json.dumps({"pid": gone.pid, "start_time": None}))
    assert processes.pid("sleeper") is None


def test_a_reused_process_id_is_not_taken_for_ours(tmp_path: Path, processes: Processes) -> None:
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        started = start_time(stranger.pid)
        assert started is not None
        (tmp_path / "run").mkdir()
        record = {"pid": stranger.pid, "start_time": started - 1}
        (tmp_path / "run" / "sleeper.json").write_text(json.dumps(record))
        assert processes.pid("sleeper") is None
        processes.end("sleeper", signal.SIGKILL)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_daemon_that_dies_is_reported_at_once_with_its_last_words(processes: Processes) -> None:
    processes.start(Daemon("broken", ["sh", "-c", "echo the port is taken >&2; exit 1"]))
    with pytest.raises(ClusterError, match=r"(?s)the answer: broken ended.*the port is taken"):
        processes.wait_for("the answer", lambda: False, 60, ["broken"])


def test_waiting_in_vain_names_the_log(processes: Processes) -> None:
    processes.start(SLEEP)
    with pytest.raises(ClusterError, match=r"(?s)the answer: not within 0 s.*sleeper\.log"):
        processes.wait_for("the answer", lambda: False, 0, ["sleeper"])
