"""The forkserver, forked from the worker itself instead of started as an interpreter of its own.

Python starts it anew, and it then imports what the worker has just imported: half of what a pod's start takes of a
core, on a node that may be carrying calls. Forked, it has all that, and shares its memory.

It is forked first of all, from a process with one thread and none of the team's code, which may start threads and open
connections when it is imported. What livekit-agents has it preload, and the environment that jobs inherit, are told to
it once they are known.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context, util
from multiprocessing.context import BaseContext, ForkServerContext
from pathlib import Path
from typing import NoReturn

logger = logging.getLogger(__name__)


class ForkedContext(ForkServerContext):
    """The start method `forkserver`, whose server waits to be told what to preload."""

    def __init__(self, to_server: socket.socket) -> None:
        super().__init__()
        self._to_server = to_server

    def set_forkserver_preload(self, module_names: list[str]) -> None:
        """Have the server import modules, in the environment that this process has now, and then serve."""
        # Should it die, Python starts another, in its own way.
        super().set_forkserver_preload(module_names)
        with suppress(BrokenPipeError), self._to_server:
            self._to_server.sendall(json.dumps([module_names, dict(os.environ)]).encode())


@contextmanager
def forked() -> Iterator[BaseContext]:
    """Fork the server; it ends with this process, or with the context if it was not told what to preload.

    Yields:
        a start method for `multiprocessing`. It is Python's own where a thread runs already (of an instrumentation,
        say), whose locks would be copied as they are, and from Python 3.14 on, where server and clients share a key.
    """
    if sys.version_info >= (3, 14) or threading.active_count() > 1:
        yield get_context("forkserver")
        return
    from_worker, to_server = socket.socketpair()
    alive_r, alive_w = os.pipe()
    address = Path(tempfile.mkdtemp(dir=util.get_temp_dir()), "forkserver")
    with socket.socket(socket.AF_UNIX) as listener, from_worker:
        listener.bind(str(address))
        address.chmod(0o600)
        listener.listen()
        pid = os.fork()
        if pid == 0:
            # The write ends are the worker's alone: their closing tells that it has ended.
            to_server.close()
            os.close(alive_w)
            _serve(listener.fileno(), alive_r, from_worker)
    os.close(alive_r)
    # What `forkserver.ensure_running` keeps of a server that it has started.
    vars(forkserver._forkserver).update(
        _forkserver_address=str(address), _forkserver_alive_fd=alive_w, _forkserver_pid=pid
    )
    with to_server:
        yield ForkedContext(to_server)


def _serve(listener: int, alive: int, from_worker: socket.socket) -> NoReturn:
    # A signal to the whole process group is the worker's to answer.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with from_worker, from_worker.makefile("rb") as reader:
            told = reader.read()
        if told:
            modules, environment = json.loads(told)
            os.environ.clear()
            os.environ.update(environment)
            forkserver.main(listener, alive, modules)
    except Exception:
        logger.exception("the forkserver that shares the worker's memory failed; Python starts one of its own")
    finally:
        # Never back into the worker's code, whose copy this process runs in.
        os._exit(0)
