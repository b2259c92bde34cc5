"""What GKE Autopilot asks of pods, asked by the lab's cluster of those in the product's namespaces."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import yaml

from lab.cluster.base import product_namespace
from lab.kubectl import CommandError, Kubectl

RULES = Path(__file__).with_name("manifests") / "autopilot.yaml"

_IN_FORCE_SECONDS = 60.0

# Restricted in all that Pod Security asks for, and without the requests that Autopilot would set.
_REFUSED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "refused"},
    "spec": {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": "example.invalid/none",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    },
}


class AdmissionError(Exception):
    """The rules did not come into force."""


def enforce(kubectl: Kubectl) -> None:
    """Put the rules in force in the product's namespace, also of a cluster that was made before there were any.

    Raises:
        AdmissionError: the API server has the rules and does not follow them.
        CommandError: it refused them.
    """
    kubectl.apply(*yaml.safe_load_all(RULES.read_text()), product_namespace())
    deadline = time.monotonic() + _IN_FORCE_SECONDS
    # The API server takes them up a second or so after it was told.
    while (said := refusal(kubectl, _REFUSED)) is None:
        if time.monotonic() > deadline:
            raise AdmissionError(
                f"a pod without requests is admitted to {kubectl.namespace} {_IN_FORCE_SECONDS:.0f} s after "
                f"{RULES.name} was applied: look at `kubectl describe validatingadmissionpolicies`"
            )
        time.sleep(0.2)
    if "autopilot" not in said:
        raise AdmissionError(f"the API server refuses a pod for another reason than Autopilot's rules: {said}")


def refusal(kubectl: Kubectl, *pods: dict[str, Any]) -> str | None:
    """What the API server says against one of the pods, none of which it is made to run; None if nothing."""
    listing = {"apiVersion": "v1", "kind": "List", "items": list(pods)}
    try:
        kubectl.run("create", "--dry-run=server", "--filename=-", stdin=json.dumps(listing), timeout=60)
    except CommandError as error:
        return str(error)
    return None
