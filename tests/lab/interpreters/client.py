"""Starts Python programs; within `warm` they cost a fork instead of an interpreter's start and all that it imports."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from lab.interpreters.request import LIMIT, Answer, Request

# Half of what most tests of the image's code would cost is the import of these.
MODULES = ("voice_agent.preflight", "voice_agent.worker.run", "voice_agent.keeper.run", "lab.callers.caller")
_STARTS_WITHIN_SECONDS = 180.0
_LINE_LIMIT = 16 * 1024 * 1024
_ENDED = "the warm interpreter has ended, and its programs with it; why is above"

_warm: _Warm | None = None


class Process(Protocol):
    """A program that was started; what `asyncio.subprocess.Process` has, as far as it is needed.

    Attributes:
        stdin: if a pipe was asked for.
        stdout: as `stdin`.
        stderr: as `stdin`, if it is not with `stdout`.
    """

    stdin: asyncio.StreamWriter | None
    stdout: asyncio.StreamReader | None
    stderr: asyncio.StreamReader | None

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative for a signal's; None while it runs."""

    async def wait(self) -> int:
        """Wait for its exit code."""

    def send_signal(self, signal: int) -> None:
        """Send it a signal."""

    def terminate(self) -> None:
        """Send it SIGTERM."""

    def kill(self) -> None:
        """Send it SIGKILL."""


async def start(
    *words: str,
    environment: Mapping[str, str] | None = None,
    stdin: int | None = None,
    stdout: int | None = None,
    stderr: int | None = None,
    session: bool = False,
) -> Process:
    """Run a program.

    Args:
        words: what follows ``python``: ``-m``, a module and its arguments; or a script, which is never forked, and its
            arguments.
        environment: all of it; by default this process'.
        stdin: PIPE of `asyncio.subprocess`, or nothing for this process' own.
        stdout: as `stdin`.
        stderr: as `stdin`, or STDOUT.
        session: whether it leads a session of its own.

    Raises:
        ChildProcessError: the warm interpreter has ended.
        TimeoutError: it did not begin.
    """
    variables = dict(os.environ if environment is None else environment)
    if _warm is None or words[0] != "-m":
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            env=variables,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            limit=_LINE_LIMIT,
            start_new_session=session,
        )
    request = Request(module=words[1], arguments=list(words[2:]), environment=variables, session=session)
    return await _warm.start(request, stdin, stdout, stderr)


@contextmanager
def warm(modules: Sequence[str] = MODULES) -> Iterator[None]:
    """Have programs forked from one interpreter for as long as the context lasts; what still runs then is killed.

    Args:
        modules: what it imports before.
    """
    with tempfile.TemporaryDirectory(prefix="warm-") as folder:
        address = Path(folder) / "socket"
        with (
            subprocess.Popen(
                [sys.executable, "-m", "lab.interpreters", str(address), *modules],
                stdin=subprocess.PIPE,
                start_new_session=True,
            ) as server,
            _using(_Warm(address, server)),
        ):
            yield


def cold() -> AbstractContextManager[None]:
    """Have every program get an interpreter of its own for as long as the context lasts."""
    return _using(None)


@contextmanager
def _using(chosen: _Warm | None) -> Iterator[None]:
    global _warm
    before, _warm = _warm, chosen
    try:
        yield
    finally:
        _warm = before


class _Warm:
    def __init__(self, address: Path, server: subprocess.Popen[bytes]) -> None:
        self._address = address
        self._server = server

    async def start(self, request: Request, stdin: int | None, stdout: int | None, stderr: int | None) -> Process:
        # What is the program's is closed here, and what is ours only if it does not begin.
        with ExitStack() as failed, ExitStack() as theirs:
            async with asyncio.timeout(_STARTS_WITHIN_SECONDS):
                writer, files = None, [0]
                if stdin == asyncio.subprocess.PIPE:
                    ours, its = socket.socketpair()
                    theirs.enter_context(its)
                    _, writer = await asyncio.open_connection(sock=ours)
                    failed.callback(writer.close)
                    files = [its.fileno()]
                readers: list[asyncio.StreamReader | None] = []
                for number, wanted in enumerate((stdout, stderr), 1):
                    reader = None
                    if wanted == asyncio.subprocess.PIPE:
                        reader, file = await _pipe()
                        theirs.callback(os.close, file)
                        files.append(file)
                    else:
                        files.append(files[-1] if wanted == asyncio.subprocess.STDOUT else number)
                    readers.append(reader)
                # Last, since it is waited for once it is connected.
                asking = failed.enter_context(await self._connect())
                socket.send_fds(asking, [request.model_dump_json().encode()], files)
                answer = Answer.model_validate_json(await _received(asking))
            failed.pop_all()
        return _Forked(answer.pid, asking, writer, *readers)

    async def _connect(self) -> socket.socket:
        while True:
            # One that could not connect is of no more use.
            asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            asking.setblocking(False)
            try:
                asking.connect(str(self._address))
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                asking.close()
                if self._server.poll() is not None:
                    raise ChildProcessError(_ENDED) from None
                await asyncio.sleep(0.05)
            else:
                return asking


async def _received(asking: socket.socket) -> bytes:
    """A message.

    Raises:
        ChildProcessError: the warm interpreter has ended instead.
    """
    with suppress(ConnectionError):
        if message := await asyncio.get_running_loop().sock_recv(asking, LIMIT):
            return message
    raise ChildProcessError(_ENDED)


async def _pipe() -> tuple[asyncio.StreamReader, int]:
    """A pipe's reading end, which closes itself, and the file of its writing end."""
    read, write = os.pipe()
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read, "rb"))
    return reader, write


class _Forked:
    """A `Process` that is the warm interpreter's child, which tells how it ended."""

    def __init__(
        self,
        pid: int,
        asking: socket.socket,
        stdin: asyncio.StreamWriter | None,
        stdout: asyncio.StreamReader | None,
        stderr: asyncio.StreamReader | None,
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdin = stdin
        self.stdout = stdout
        self.stderr = stderr
        self._asking = asking
        self._ending = asyncio.create_task(self._end())

    async def wait(self) -> int:
        return await asyncio.shield(self._ending)

    def send_signal(self, signal: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def _end(self) -> int:
        try:
            with self._asking:
                code = Answer.model_validate_json(await _received(self._asking)).code
            if code is None:
                raise AssertionError("only what has ended is told of twice")
            self.returncode = code
        except ChildProcessError:
            self.returncode = -signal.SIGKILL
        finally:
            if self.stdin:
                self.stdin.close()
        return self.returncode
