"""The forkserver shares what the worker has imported, and otherwise serves as Python's own does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python's own forkserver is used there")

# Each program is a process of its own: it forks, and must have no thread of other tests.
_HEAD = """
import os, signal, sys, threading
from multiprocessing import forkserver as python
from voice_agent.worker import forkserver

import shared

def made(processes):
    reader, writer = processes.Pipe(duplex=False)
    process = processes.Process(target=shared.show, args=(writer,))
    process.start()
    told = reader.recv()
    process.join(30)
    return told

def server():
    return python._forkserver._forkserver_pid
"""

_SHARED = """
import os, sys

number = 0

def show(writer):
    writer.send((number, "wave" in sys.modules, os.environ.get("TOLD"), os.getppid()))
"""


def _run(folder: Path, program: str) -> list[str]:
    (folder / "shared.py").write_text(_SHARED)
    (folder / "program.py").write_text(_HEAD + program)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, str(folder / "program.py")], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_calls_process_has_what_was_there_at_the_fork_and_what_was_told_later(tmp_path: Path) -> None:
    lines = _run(
        tmp_path,
        """
if __name__ == "__main__":
    shared.number = 1
    with forkserver.forked() as processes:
        shared.number = 2
        os.environ["TOLD"] = "after the fork"
        processes.set_forkserver_preload(["wave"])
        told = made(processes)
        print(*told[:3], told[3] == server())
""",
    )
    assert lines == ["1 True after the fork True"]


def test_a_signal_to_the_process_group_leaves_it_serving(tmp_path: Path) -> None:
    lines = _run(
        tmp_path,
        """
if __name__ == "__main__":
    with forkserver.forked() as processes:
        made_by = server()
        processes.set_forkserver_preload([])
        # It serves once it has made one.
        made(processes)
        os.kill(made_by, signal.SIGTERM)
        os.kill(made_by, signal.SIGINT)
        print(made(processes)[3] == made_by)
""",
    )
    assert lines == ["True"]


def test_python_starts_another_when_it_dies(tmp_path: Path) -> None:
    lines = _run(
        tmp_path,
        """
if __name__ == "__main__":
    shared.number = 1
    with forkserver.forked() as processes:
        made_by = server()
        processes.set_forkserver_preload(["wave"])
        made(processes)
        os.kill(made_by, signal.SIGKILL)
        os.waitid(os.P_PID, made_by, os.WEXITED | os.WNOWAIT)
        told = made(processes)
        print(*told[:2], told[3] != made_by)
""",
    )
    assert lines == ["0 True True"]


def test_it_ends_with_a_worker_that_cannot_start(tmp_path: Path) -> None:
    lines = _run(
        tmp_path,
        """
if __name__ == "__main__":
    try:
        with forkserver.forked():
            raise ValueError("settings are wrong")
    except ValueError as error:
        print(error, os.waitpid(server(), 0)[0] == server())
""",
    )
    assert lines == ["settings are wrong True"]


def test_pythons_own_is_used_where_a_thread_runs(tmp_path: Path) -> None:
    """Whatever lock the thread holds would be held for ever in every call's process."""
    lines = _run(
        tmp_path,
        """
if __name__ == "__main__":
    shared.number = 1
    done = threading.Event()
    threading.Thread(target=done.wait).start()
    with forkserver.forked() as processes:
        print(server())
        processes.set_forkserver_preload(["wave"])
        print(*made(processes)[:2])
    done.set()
""",
    )
    assert lines == ["None", "0 True"]
