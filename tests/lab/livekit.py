"""A livekit-server of one's own, as a process on free loopback ports."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

from lab.paths import tool
from lab.ports import free_port

API_KEY = "devkey"
API_SECRET = "secret-of-a-server-on-loopback-only"  # noqa: S105 - protects nothing
_START_SECONDS = 30.0
_ATTEMPTS = 5


@dataclass(frozen=True)
class LiveKit:
    """Where a livekit-server is reached, and by which key.

    Attributes:
        url: its ``ws://`` address.
        key: the API key.
        secret: the key's secret.
        pid: the server's process.
        log: what it writes.
    """

    url: str
    key: str
    secret: str
    pid: int
    log: Path


class _PortTakenError(Exception):
    """Another process took a port between our look and the server's start."""


def _wait_until_up(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=1):
                return
        except (URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-10:])
    if "address already in use" in tail:
        raise _PortTakenError(tail)
    raise RuntimeError(
        f"livekit-server did not answer on port {port} in {_START_SECONDS:g} s; the end of its log:\n{tail}"
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    # It has nothing to save; asked politely it would wait for everyone to leave their rooms.
    server.kill()
    server.wait()


def _start(port: int | None, webhooks: str | None, folder: Path) -> tuple[subprocess.Popen[bytes], LiveKit]:
    http, tcp, udp = free_port(), free_port(), free_port()
    http = port or http
    config: dict[str, object] = {
        "port": http,
        "bind_addresses": ["127.0.0.1"],
        "rtc": {
            "tcp_port": tcp,
            "udp_port": udp,
            "use_external_ip": False,
            "node_ip": "127.0.0.1",
            "enable_loopback_candidate": True,
        },
        "keys": {API_KEY: API_SECRET},
    }
    if webhooks:
        config["webhook"] = {"api_key": API_KEY, "urls": [webhooks]}
    path, log = folder / "config.yaml", folder / "server.log"
    # JSON is YAML.
    path.write_text(json.dumps(config))
    with log.open("wb") as output:
        server = subprocess.Popen([tool("livekit-server"), "--config", path], stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_up(http, server, log)
    except BaseException:
        _stop(server)
        raise
    return server, LiveKit(f"ws://127.0.0.1:{http}", API_KEY, API_SECRET, server.pid, log)


def _start_on_free_ports(
    port: int | None, webhooks: str | None, folder: Path
) -> tuple[subprocess.Popen[bytes], LiveKit]:
    for _ in range(_ATTEMPTS - 1):
        with suppress(_PortTakenError):
            return _start(port, webhooks, folder)
    try:
        return _start(port, webhooks, folder)
    except _PortTakenError as error:
        raise RuntimeError(f"livekit-server found its ports taken {_ATTEMPTS} times:\n{error}") from None


@contextmanager
def livekit_server(port: int | None = None, *, webhooks: str | None = None) -> Iterator[LiveKit]:
    """Run livekit-server on loopback for as long as the context lasts.

    Args:
        port: the HTTP port to use instead of a free one, so that a server can come back where it was.
        webhooks: the URL that it tells of its rooms.

    Raises:
        FileNotFoundError: the binary was not built yet.
        RuntimeError: the server did not come up; the message ends with its log.
    """
    with tempfile.TemporaryDirectory(prefix="livekit-") as folder:
        server, running = _start_on_free_ports(port, webhooks, Path(folder))
        try:
            yield running
        finally:
            _stop(server)
