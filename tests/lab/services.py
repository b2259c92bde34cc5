"""The servers that calls need besides the product: livekit-server and the Gemini simulator, in the cluster."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import URLError

import yaml
from cryptography import x509
from cryptography.fernet import Fernet

from lab import images
from lab.cluster import LAB_NAMESPACE, PRODUCT_NAMESPACE, Cluster
from lab.gemini.certificates import write_certificate
from lab.kubectl import CommandError, Kubectl

MANIFESTS = Path(__file__).with_name("manifests")

INFRA_LABEL = "voice-agent.lab/infra"
CHECKSUM = "voice-agent.lab/checksum"

# The NodePorts of the manifests, at which the host reaches the servers.
LIVEKIT_NODE_PORT = 30780
ADMIN_NODE_PORT = 30844

LIVEKIT_SECRET = "livekit-credentials"  # noqa: S105 - a name
GEMINI_SECRET = "gemini-api-key"  # noqa: S105 - a name
STATE_SECRET = "voice-agent-state"  # noqa: S105 - a name
VALKEY_SECRET = "voice-agent-valkey"  # noqa: S105 - a name
TLS_SECRET = "gemini-sim-tls"  # noqa: S105 - a name
CA_CONFIG_MAP = "gemini-sim-ca"

_READY_SECONDS = 120
_REACHABLE_SECONDS = 30.0

# A cluster that is kept for weeks gets a new certificate before the old one ends.
_CERTIFICATE_MARGIN = timedelta(days=2)


class ServicesError(Exception):
    """A server did not come up; pods, events and logs were printed before."""


@dataclass(frozen=True)
class Endpoints:
    """How the host reaches the lab's servers.

    Attributes:
        livekit_url: ``ws://`` address of livekit-server.
        api_key: LiveKit's API key.
        api_secret: the key's secret.
        gemini_admin_url: ``http://`` address of the simulator's admin API.
    """

    livekit_url: str
    api_key: str
    api_secret: str
    gemini_admin_url: str


def deploy(cluster: Cluster) -> Endpoints:
    """Run the servers on the cluster's first node and wait until the host reaches them.

    Their images must be loaded. A server that runs already is replaced only if its image, configuration or
    secrets changed. Credentials are made once for a cluster and kept in it.

    Raises:
        ServicesError: a server did not become ready.
        CommandError: the API server refused an object.
    """
    lab = Kubectl(cluster.kubeconfig(), LAB_NAMESPACE)
    product = lab.in_namespace(PRODUCT_NAMESPACE)
    node = cluster.nodes()[0]
    lab.run("label", "node", node, f"{INFRA_LABEL}=true", "--overwrite")

    livekit = _kept(product, LIVEKIT_SECRET) or {
        "api-key": f"lab{secrets.token_hex(6)}",
        # livekit-server complains about secrets shorter than 32 characters.
        "api-secret": secrets.token_urlsafe(32),
    }
    gemini = _kept(product, GEMINI_SECRET) or {"api-key": secrets.token_urlsafe(24)}
    state = _kept(product, STATE_SECRET) or {"keys": Fernet.generate_key().decode()}
    valkey = _kept(product, VALKEY_SECRET) or {"password": secrets.token_urlsafe(24)}
    tls = _certificate(_kept(lab, TLS_SECRET))
    product.apply(
        _secret(LIVEKIT_SECRET, livekit),
        _secret(GEMINI_SECRET, gemini),
        _secret(STATE_SECRET, state),
        _secret(VALKEY_SECRET, valkey),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CA_CONFIG_MAP},
            "data": {"ca.crt": tls["tls.crt"]},
        },
    )
    keys = {"keys": f"{livekit['api-key']}: {livekit['api-secret']}"}
    lab.apply(_secret("livekit-keys", keys), _secret(TLS_SECRET, tls))
    for name, recipe, depends in (("livekit", "livekit-server", keys), ("gemini-sim", "voice-agent-lab", tls)):
        lab.apply(*_manifests(name, images.RECIPES[recipe]().key, json.dumps(depends)))
    _wait_ready(lab, "livekit", "gemini-sim")

    address = cluster.node_address(node)
    endpoints = Endpoints(
        livekit_url=f"ws://{address}:{LIVEKIT_NODE_PORT}",
        api_key=livekit["api-key"],
        api_secret=livekit["api-secret"],
        gemini_admin_url=f"http://{address}:{ADMIN_NODE_PORT}",
    )
    _wait_reachable(lab, f"http://{address}:{LIVEKIT_NODE_PORT}", f"{endpoints.gemini_admin_url}/healthz")
    return endpoints


def share(product: Kubectl, other: Kubectl) -> None:
    """Give another namespace what the product's pods need to use the servers, and to keep the state of calls.

    Raises:
        CommandError: the API server refused an object.
    """
    kinds = {LIVEKIT_SECRET: "Secret", GEMINI_SECRET: "Secret", STATE_SECRET: "Secret", CA_CONFIG_MAP: "ConfigMap"}
    for name, kind in kinds.items():
        data = product.get(kind.lower(), name)["data"]
        other.apply({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": data})


def _kept(kubectl: Kubectl, name: str) -> dict[str, str] | None:
    """The values of a Secret that an earlier run made."""
    found = kubectl.run("get", "secret", name, "--ignore-not-found", "-o", "json")
    if not found:
        return None
    return {key: base64.b64decode(value).decode() for key, value in json.loads(found)["data"].items()}


def _secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def _certificate(kept: dict[str, str] | None) -> dict[str, str]:
    """The simulator's certificate and key: those that were kept, unless they are about to end."""
    if kept is not None:
        ends = x509.load_pem_x509_certificate(kept["tls.crt"].encode()).not_valid_after_utc
        if ends > datetime.now(UTC) + _CERTIFICATE_MARGIN:
            return kept
    with tempfile.TemporaryDirectory() as folder:
        certificate, private_key = write_certificate(Path(folder))
        return {"tls.crt": certificate.read_text(), "tls.key": private_key.read_text()}


def _manifests(name: str, image_key: str, depends: str) -> list[dict[str, Any]]:
    """A server's objects; its pods carry a checksum of all they depend on, so that they follow its changes."""
    text = (MANIFESTS / f"{name}.yaml").read_text()
    checksum = hashlib.sha256("\0".join((text, image_key, depends)).encode()).hexdigest()[:16]
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(text))
    for document in documents:
        if document["kind"] == "Deployment":
            document["spec"]["template"]["metadata"]["annotations"] = {CHECKSUM: checksum}
    return documents


def _wait_ready(lab: Kubectl, *deployments: str) -> None:
    print(f"services: waiting for {' and '.join(deployments)} in namespace {lab.namespace}", flush=True)
    for deployment in deployments:
        try:
            lab.run(
                "rollout",
                "status",
                f"deployment/{deployment}",
                f"--timeout={_READY_SECONDS}s",
                timeout=_READY_SECONDS + 30,
            )
        except (CommandError, subprocess.TimeoutExpired) as error:
            lab.explain()
            raise ServicesError(f"{deployment} is not ready after {_READY_SECONDS} s: {error}") from error


def _wait_reachable(lab: Kubectl, *urls: str) -> None:
    """A ready pod's NodePort answers as soon as kube-proxy has heard of it."""
    deadline = time.monotonic() + _REACHABLE_SECONDS
    for url in urls:
        while True:
            try:
                with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own http:// addresses
                    break
            except (URLError, ConnectionError, TimeoutError) as error:
                if time.monotonic() > deadline:
                    lab.explain()
                    raise ServicesError(
                        f"{url} does not answer from this machine though its pod is ready: {error}. "
                        "Look at kube-proxy's log (`lab status` names the node's processes)"
                    ) from error
                time.sleep(0.2)
