"""Datagrams that have just ceased to come."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from voice_agent.call import datagrams
from voice_agent.call.datagrams import QUIET_SECONDS, Datagrams, udp_received


class Pod:
    """Time, and how many datagrams have come."""

    def __init__(self) -> None:
        self.now = 100.0
        self.received: int | None = 7
        self.datagrams = Datagrams(clock=lambda: self.now, received=lambda: self.received)

    def ceased_after(self, seconds: float) -> bool:
        self.now += seconds
        return self.datagrams.ceased(within=1.0)


def test_they_have_ceased_when_none_has_come_for_a_moment_and_that_is_told_for_a_while() -> None:
    pod = Pod()
    assert not pod.ceased_after(0.0)
    assert not pod.ceased_after(QUIET_SECONDS / 2)
    assert pod.ceased_after(QUIET_SECONDS / 2)
    assert pod.ceased_after(0.75)
    assert not pod.ceased_after(0.75)

    pod.received = 8
    assert not pod.ceased_after(0.25)
    assert pod.ceased_after(QUIET_SECONDS)


def test_of_a_silent_callers_client_they_do_not_cease() -> None:
    """It sends something every 0.4 s, and is looked at every 0.25 s."""
    pod = Pod()
    for tick in range(100):
        pod.received = int(tick * 0.25 / 0.4)
        assert not pod.ceased_after(0.25)


def test_where_the_kernel_does_not_tell_they_never_cease(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pod = Pod()
    pod.received = None
    assert not any(pod.ceased_after(0.25) for _ in range(20))

    for text in ("", "Udp: InDatagrams\n", "Udp: NoPorts\nUdp: 1\n", "Udp: InDatagrams\nUdp: many\n"):
        counters = tmp_path / "snmp"
        counters.write_text(text)
        monkeypatch.setattr(datagrams, "_COUNTERS", counters)
        assert udp_received() is None
    monkeypatch.setattr(datagrams, "_COUNTERS", tmp_path / "none")
    assert udp_received() is None


@pytest.mark.skipif(sys.platform != "linux", reason="it is Linux that counts them")
def test_a_datagram_that_comes_is_counted() -> None:
    before = udp_received()
    with socket.socket(type=socket.SOCK_DGRAM) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        sender.sendto(b"sound", receiver.getsockname())
        receiver.recv(16)

    after = udp_received()
    assert before is not None
    assert after is not None
    assert after > before
