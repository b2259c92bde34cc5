"""The warm interpreter: it has imported what programs need, and forks itself for each that it is asked for.

    python -m lab.interpreters SOCKET MODULE...

It ends at the end of its stdin, and every program with it. It has one thread, as whoever forks must. What modules do
when they are imported they do in its environment, once for all programs.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import runpy
import select
import signal
import socket
import sys
import threading
from contextlib import suppress

from lab.interpreters.request import LIMIT, Answer, Request

_STDIO = 3
# Of prctl(2): what a process is sent when its parent has ended.
_PR_SET_PDEATHSIG = 1
# Whoever has connected sends at once.
_SENDS_WITHIN_SECONDS = 10.0


class Server:
    """Forks, and tells how what it has forked has ended.

    Args:
        listener: where programs are asked for; each asks on a connection of its own.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: dict[int, socket.socket] = {}
        self._ended_r, self._ended_w = os.pipe()

    def serve(self) -> Request:
        """Serve until the end of stdin.

        Returns:
            in a program's process alone: what it is to be.
        """
        os.set_blocking(self._ended_r, False)
        os.set_blocking(self._ended_w, False)
        signal.set_wakeup_fd(self._ended_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        while True:
            readable, _, _ = select.select([self._listener, self._ended_r, sys.stdin], [], [])
            if self._ended_r in readable:
                os.read(self._ended_r, LIMIT)
                self._reap()
            if self._listener in readable and (request := self._fork()):
                return request
            if sys.stdin in readable:
                sys.exit(0)

    def _fork(self) -> Request | None:
        """Fork once; the request in the program's process, None in this one."""
        asking, _ = self._listener.accept()
        asking.settimeout(_SENDS_WITHIN_SECONDS)
        try:
            message, files, _, _ = socket.recv_fds(asking, LIMIT, _STDIO)
            request = Request.model_validate_json(message)
        except (OSError, ValueError):
            # Whoever asked has given up.
            asking.close()
            return None
        pid = os.fork()
        if pid == 0:
            self._become(request, files, asking)
            return request
        for file in files:
            os.close(file)
        self._running[pid] = asking
        return None

    def _become(self, request: Request, files: list[int], asking: socket.socket) -> None:
        # However the interpreter ends.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if request.session:
            os.setsid()
        for number, file in enumerate(files):
            os.dup2(file, number)
        for file in {*files, self._ended_r, self._ended_w}:
            os.close(file)
        for connection in (self._listener, *self._running.values()):
            connection.close()
        self._running.clear()
        with suppress(OSError), asking:
            asking.send(Answer(pid=os.getpid()).model_dump_json().encode())
        os.environ.clear()
        os.environ.update(request.environment)
        # As an interpreter does when it starts.
        path = request.environment.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[1:1] = [folder for folder in path if folder and folder not in sys.path]
        sys.argv[1:] = request.arguments

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            asking = self._running.pop(pid, None)
            if asking is None:
                continue
            # Nobody may wait for it any more.
            with suppress(OSError), asking:
                asking.send(Answer(pid=pid, code=os.waitstatus_to_exitcode(status)).model_dump_json().encode())


def _main() -> Request:
    address, *modules = sys.argv[1:]
    # Whatever looks through this memory later, in a program, writes to it, and makes a copy of it.
    gc.disable()
    for module in modules:
        importlib.import_module(module)
    gc.freeze()
    gc.enable()
    if threading.active_count() > 1:
        raise SystemExit(f"a thread was begun by the import of one of {modules}: what is forked would not have it")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(address)
    listener.listen()
    return Server(listener).serve()


if __name__ == "__main__":
    # At the end of the stack, where an interpreter of its own would begin: what it raises, and its exit, are as there.
    runpy.run_module(_main().module, run_name="__main__", alter_sys=True)
