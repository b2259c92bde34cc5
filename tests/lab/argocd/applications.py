"""The Applications that the project's example makes, for the lab's cluster."""

from __future__ import annotations

import json
from typing import Any

import yaml

from lab.argocd.definitions import CLUSTER
from lab.paths import ROOT

EXAMPLE = ROOT / "examples" / "gitops" / "argocd-applicationset.yaml"


def application(environment: str, url: str, namespace: str) -> dict[str, Any]:
    """The Application that the example makes for an environment.

    All but the repository and the destination is the example's.

    Args:
        environment: its values are ``values/ENVIRONMENT.yaml`` in the repository.
        url: the repository.
        namespace: of the lab's cluster.
    """
    template = yaml.safe_load(EXAMPLE.read_text())["spec"]["template"]
    made = json.loads(json.dumps(template).replace("{{ .environment }}", environment))
    made["spec"]["source"]["repoURL"] = url
    made["spec"]["destination"] = {"name": CLUSTER, "namespace": namespace}
    # As an ApplicationSet gives it to what it makes: what was synced goes with the Application.
    made["metadata"]["finalizers"] = ["resources-finalizer.argocd.argoproj.io"]
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", **made}
