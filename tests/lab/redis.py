"""A redis-server of one's own, as a process on a free loopback port; installed from its Debian package."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import packages
from lab.ports import free_port

PROGRAM = {"redis-server": "redis-server"}
_START_SECONDS = 20.0


@dataclass(frozen=True)
class RedisServer:
    """Where a server is reached.

    Attributes:
        port: on loopback; of TLS if it was started with it.
        process: the server, for those who stop or kill it.
    """

    port: int
    process: subprocess.Popen[bytes]


@contextmanager
def redis_server(
    *settings: str, port: int | None = None, certificate: tuple[Path, Path] | None = None, sentinel: bool = False
) -> Iterator[RedisServer]:
    """Run redis-server for as long as the context lasts.

    Args:
        settings: lines of its configuration.
        port: instead of a free one.
        certificate: paths of a certificate and its key; the server then speaks TLS only.
        sentinel: run it as a Sentinel.

    Raises:
        MissingPackagesError: it is not installed and cannot be; the message says how.
        RuntimeError: it did not come up; the message ends with its log.
    """
    packages.ensure(PROGRAM, lambda line: print(line, file=sys.stderr))
    program = shutil.which("redis-server", path=packages.SEARCH_PATH)
    port = port or free_port()
    lines = ["bind 127.0.0.1", "save ''", "appendonly no", *settings]
    if certificate:
        lines += [f"port 0\ntls-port {port}\ntls-cert-file {certificate[0]}\ntls-key-file {certificate[1]}"]
        lines += ["tls-auth-clients no"]
    else:
        lines += [f"port {port}"]
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        configuration, log = Path(folder, "redis.conf"), Path(folder, "redis.log")
        configuration.write_text("\n".join([f"dir {folder}", *lines]) + "\n")
        with log.open("wb") as output:
            command = [str(program), str(configuration), *(["--sentinel"] if sentinel else [])]
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until_up(port, process, log)
            yield RedisServer(port, process)
        finally:
            process.kill()
            process.wait()


def _wait_until_up(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    raise RuntimeError(f"redis-server did not answer on port {port}; the end of its log:\n{tail}")
