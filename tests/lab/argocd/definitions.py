"""What Argo CD's own manifests would give a cluster: its kinds, its defaults, and the cluster to sync into."""

from __future__ import annotations

import json

import yaml

from lab.kubectl import Kubectl
from lab.paths import tool

NAMESPACE = "argocd"
# The cluster as Argo CD knows it.
CLUSTER = "lab"
APPLICATION = "applications.argoproj.io"


def define(kubectl: Kubectl) -> None:
    """Put all of it into the namespace ``argocd`` of the cluster."""
    shipped = tool("argocd").resolve().parent
    kubectl.define(*sorted(shipped.glob("*-crd.yaml")))
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    part = {"app.kubernetes.io/part-of": "argocd"}
    config = json.loads(kubectl.run("config", "view", "--raw", "--flatten", "--minify", "-o", "json"))
    server, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    keys = {
        "caData": server["certificate-authority-data"],
        "certData": user["client-certificate-data"],
        "keyData": user["client-key-data"],
    }
    kubectl.apply(
        yaml.safe_load((shipped / "argocd-cm.yaml").read_text()),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "argocd-secret", "labels": part}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "cluster-lab", "labels": {"argocd.argoproj.io/secret-type": "cluster"}},
            "stringData": {
                "name": CLUSTER,
                "server": server["server"],
                "config": json.dumps({"tlsClientConfig": keys}),
            },
        },
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "default"},
            "spec": {
                "sourceRepos": ["*"],
                "destinations": [{"namespace": "*", "server": "*"}],
                "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
            },
        },
    )
