"""Certificates that TLS libraries accept, for the names they were made for."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest
import yaml

from lab.cluster.local.certificates import Authority, Pair, write_kubeconfig


def handshake(authority: Path, server: Pair, client: Pair, name: str) -> dict[str, object]:
    """Connect a client to a server that both check each other; what the server saw."""
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority))
    listening.verify_mode = ssl.CERT_REQUIRED
    listening.load_cert_chain(server.certificate, server.key)
    calling = ssl.create_default_context(cafile=str(authority))
    calling.load_cert_chain(client.certificate, client.key)
    ours, theirs = socket.socketpair()
    seen: dict[str, object] = {}

    def serve() -> None:
        try:
            with listening.wrap_socket(theirs, server_side=True) as connection:
                seen.update(connection.getpeercert() or {})
                connection.send(b"!")
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with calling.wrap_socket(ours, server_hostname=name) as connection:
            connection.recv(1)
    finally:
        ours.close()
        thread.join()
    return seen


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def test_client_and_server_accept_each_other(authority: Authority) -> None:
    server = authority.sign("server", "server", hosts=["kubernetes.default.svc", "10.213.0.1"])
    client = authority.sign("node", "system:node:node-1", ["system:nodes"])
    for name in ("kubernetes.default.svc", "10.213.0.1"):
        seen = handshake(authority.pair.certificate, server, client, name)
        assert seen["subject"] == (
            (("organizationName", "system:nodes"),),
            (("commonName", "system:node:node-1"),),
        )


def test_a_server_under_another_name_is_refused(authority: Authority) -> None:
    server = authority.sign("server", "server", hosts=["10.213.0.1"])
    client = authority.sign("client", "client")
    with pytest.raises(ssl.SSLCertVerificationError, match=r"10\.213\.0\.2"):
        handshake(authority.pair.certificate, server, client, "10.213.0.2")


def test_a_client_of_another_authority_is_refused(authority: Authority, tmp_path: Path) -> None:
    server = authority.sign("server", "server", hosts=["10.213.0.1"])
    stranger = Authority(tmp_path, "other").sign("stranger", "admin", ["system:masters"])
    with pytest.raises(ssl.SSLError):
        handshake(authority.pair.certificate, server, stranger, "10.213.0.1")


def test_only_the_owner_reads_keys_and_kubeconfigs(authority: Authority, tmp_path: Path) -> None:
    client = authority.sign("admin", "admin")
    path = write_kubeconfig(tmp_path / "kubeconfig", "https://10.213.0.1:6443", client.certificate, client)
    assert {stat.S_IMODE(file.stat().st_mode) for file in (client.key, path)} == {0o600}
    assert yaml.safe_load(path.read_text())["current-context"] == "voice-agent-lab"
