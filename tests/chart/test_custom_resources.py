"""The API server, with the definitions of those whose objects the chart has, takes every such object as it is.

Not of Managed Prometheus (PodMonitoring, Rules) and the Secrets Store CSI driver (SecretProviderClass), whose
definitions no package registry has; and of the others only the definitions are here, not what acts on them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import ALL_VALUES, DEFINED, objects, render
from lab.cluster.base import product_namespace
from lab.kubectl import CommandError, Kubectl
from lab.paths import CHART, ROOT
from lab.stage import Stage

pytestmark = pytest.mark.cluster

NAMESPACE = "custom-resources"
WITH_THEM = ("everything", "monitoring")


def custom(name: str) -> list[dict[str, Any]]:
    """Those objects of a set of values whose kinds are defined here."""
    return [
        each for each in objects(render("--namespace", NAMESPACE, values=ALL_VALUES[name])) if each["kind"] in DEFINED
    ]


@pytest.fixture(scope="module")
def kubectl(stage: Stage) -> Iterator[Kubectl]:
    kubectl = stage.kubectl.in_namespace(NAMESPACE)
    kubectl.apply(product_namespace(NAMESPACE))
    # What it complains of is shown.
    found = subprocess.run([sys.executable, ROOT / "tools" / "crds.py"], stdout=subprocess.PIPE, text=True, check=True)
    names = kubectl.define(*map(Path, found.stdout.split()))
    yield kubectl
    # The chart asks a cluster what it knows.
    kubectl.run("delete", "crd", *names)
    kubectl.run("delete", "namespace", NAMESPACE)


def dry_run(kubectl: Kubectl, manifests: list[dict[str, Any]]) -> str:
    """What a server-side apply would do.

    Raises:
        CommandError: the API server refuses an object, or does not know a field of it.
    """
    command = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    return kubectl.run(*command, stdin=yaml.safe_dump_all(manifests))


@pytest.mark.parametrize("name", WITH_THEM)
def test_the_api_server_takes_every_object(kubectl: Kubectl, name: str) -> None:
    manifests = custom(name)
    said = dry_run(kubectl, manifests)
    assert said.count("serverside-applied (server dry run)") == len(manifests) > 0


def test_every_kind_was_among_them() -> None:
    assert {each["kind"] for name in WITH_THEM for each in custom(name)} == DEFINED


def test_a_misspelt_field_is_refused(kubectl: Kubectl) -> None:
    for manifest in custom("everything"):
        manifest["spec"]["misspelt"] = True
        with pytest.raises(CommandError, match="misspelt"):
            dry_run(kubectl, [manifest])


def test_helm_sees_what_the_cluster_knows(kubectl: Kubectl) -> None:
    command = ("install", "seen", str(CHART), "--dry-run=server", f"--values={ALL_VALUES['monitoring']}")
    only_known = "--set=telemetry.metrics.renderMode=failIfMissing"
    kubectl.helm(*command, only_known)
    with pytest.raises(CommandError, match=r"does not know monitoring\.googleapis\.com/v1/PodMonitoring"):
        kubectl.helm(*command, only_known, "--set=telemetry.metrics.monitor=podMonitoring")
