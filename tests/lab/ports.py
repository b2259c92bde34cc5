"""Ports for servers that the lab starts on this machine."""

from __future__ import annotations

import itertools
import random
import socket
from contextlib import ExitStack

# Below those that Linux gives to connections (net.ipv4.ip_local_port_range begins at 32768), and NodePorts: else a
# connection may take the port between our look and the server's start.
_RANGE = range(20_000, 30_000)
_CANDIDATES = itertools.cycle(random.sample(_RANGE, len(_RANGE)))


def free_port() -> int:
    """A port that nobody uses now, neither TCP nor UDP; never the same again in this process, for as long as may be."""
    for port in itertools.islice(_CANDIDATES, len(_RANGE)):
        with ExitStack() as stack:
            try:
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    stack.enter_context(socket.socket(type=kind)).bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"every port from {_RANGE.start} to {_RANGE.stop - 1} is in use")
