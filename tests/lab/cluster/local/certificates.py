"""Certificate authorities, certificates and kubeconfigs of the local cluster.

The set follows https://kubernetes.io/docs/setup/best-practices/certificates/.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = timedelta(days=365)


@dataclass(frozen=True)
class Pair:
    """A certificate and its key on disk."""

    certificate: Path
    key: Path


def write_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Write a new private key that only its owner can read."""
    key = ec.generate_private_key(ec.SECP256R1())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(
        # Kubernetes reads the keys of service accounts' tokens in this form only.
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    return key


def _name(common_name: str, organizations: Iterable[str] = ()) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that steps back a little must not make a new cluster unusable.
        .not_valid_before(now - timedelta(minutes=10))
        .not_valid_after(now + LIFETIME)
    )


class Authority:
    """A certificate authority that signs into one folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = write_key(folder / f"{name}.key")
        self._subject = _name(f"voice-agent lab {name}")
        usage = x509.KeyUsage(
            digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False,
            encipher_only=False, decipher_only=False,
        )  # fmt: skip
        certificate = (
            _builder(self._subject, self._subject, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pair = Pair(folder / f"{name}.crt", folder / f"{name}.key")
        self.pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def sign(self, file: str, common_name: str, organizations: Iterable[str] = (), hosts: Iterable[str] = ()) -> Pair:
        """A certificate for a client and, when ``hosts`` are given, for a server under those names."""
        pair = Pair(self._folder / f"{file}.crt", self._folder / f"{file}.key")
        key = write_key(pair.key)
        names = [_alternative_name(host) for host in hosts]
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if names else [])]
        builder = (
            _builder(_name(common_name, organizations), self._subject, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return pair


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def write_kubeconfig(path: Path, server: str, authority: Path, client: Pair) -> Path:
    """Write a kubeconfig that holds its certificates, so that it can be copied about."""
    path.touch(mode=0o600)
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {
                        "name": "voice-agent-lab",
                        "cluster": {"server": server, "certificate-authority-data": _base64(authority)},
                    }
                ],
                "users": [
                    {
                        "name": client.certificate.stem,
                        "user": {
                            "client-certificate-data": _base64(client.certificate),
                            "client-key-data": _base64(client.key),
                        },
                    }
                ],
                "contexts": [
                    {
                        "name": "voice-agent-lab",
                        "context": {"cluster": "voice-agent-lab", "user": client.certificate.stem},
                    }
                ],
                "current-context": "voice-agent-lab",
            }
        )
    )
    return path
