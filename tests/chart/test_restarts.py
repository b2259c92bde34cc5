"""Which pods a change of values restarts: those that read it, and no others. A restart moves every call of a pod."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import objects, render
from lab.generate import EVERYTHING
from lab.paths import CHART

WORKER, KEEPER, VALKEY, HEADROOM = "worker", "keeper", "valkey", "headroom"
FLEET = {WORKER, KEEPER, VALKEY, HEADROOM}

CHANGES: dict[str, tuple[str, set[str]]] = {
    # What watches, scales and guards pods is not read by them.
    "monitor": ("telemetry.metrics.monitor=podMonitoring", set()),
    "scrape interval": ("telemetry.metrics.interval=7s", set()),
    "rules": ("telemetry.metrics.rules.enabled=false", set()),
    "dashboard": ("telemetry.metrics.dashboard.enabled=false", set()),
    "autoscaling": ("autoscaling.enabled=false,replicas=7", set()),
    "autoscaling mode": ("autoscaling.mode=cpu", set()),
    "autoscaling bounds": ("autoscaling.minReplicas=5,autoscaling.maxReplicas=9", set()),
    "VPA": ("verticalPodAutoscaler.enabled=false", set()),
    "PDB": ("podDisruptionBudget.maxUnavailable=2", set()),
    "network policy": ("networkPolicy.enabled=false", set()),
    "store of secrets": ("externalSecrets.enabled=false", set()),
    "headroom": ("headroom.enabled=false", set()),
    "size of headroom": ("headroom.replicas=7", set()),
    "number of keepers": ("keeper.replicas=3", set()),
    "how pods are replaced": ("rollout.maxSurge=2,rollout.minReadySeconds=9,rollout.revisionHistoryLimit=1", set()),
    "annotations of objects": ("commonAnnotations.a=b,deploymentAnnotations.c=d", set()),
    "Google account": ("serviceAccount.workloadIdentity.gcpServiceAccount=a@b.example", set()),
    # Of the pods, only those that read it.
    "agent": ("agent.class=florist.shop:Florist", {WORKER}),
    "secret in Secret Manager": ("secretManager.secrets.state.keys=other", {WORKER}),
    "version of a secret": ("secretManager.secrets.state.keys=projects/p/secrets/s/versions/2", {WORKER}),
    "drain": ("drain.gracePeriodSeconds=300", {WORKER}),
    "labels of workers": ("podLabels.a=b", {WORKER}),
    "slots": ("agent.slots=5", {WORKER, KEEPER}),
    "LiveKit": ("livekit.url=wss://other.livekit.cloud", {WORKER, KEEPER}),
    "image": ("image.tag=v2", {WORKER, KEEPER}),
    "resources of keepers": ("keeper.resources.limits.memory=1Gi", {KEEPER}),
    "environment of keepers": ("keeper.extraEnv[0].name=A,keeper.extraEnv[0].value=b", {KEEPER}),
    "Valkey": ("state.valkey.maxMemory=64mb", {VALKEY}),
    # Kubernetes has no way to change a pod template's labels without new pods.
    "labels of everything": ("commonLabels.team=voice", FLEET),
}


@functools.cache
def templates(*arguments: str, chart: Path = CHART) -> dict[str, Any]:
    """The pod templates, by component."""
    made = objects(render(*arguments, values=EVERYTHING, chart=chart))
    found = [each["spec"]["template"] for each in made if each["kind"] == "Deployment"]
    return {each["metadata"]["labels"]["app.kubernetes.io/component"]: each for each in found}


def restarted(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {component for component in before.keys() & after.keys() if before[component] != after[component]}


@pytest.mark.parametrize(("change", "pods"), CHANGES.values(), ids=CHANGES.keys())
def test_a_change_restarts_the_pods_that_read_it(change: str, pods: set[str]) -> None:
    assert restarted(templates(), templates("--set", change)) == pods


@pytest.mark.parametrize(
    ("pinned", "pods"),
    [("image.tag=v1", set()), (f"image.digest=sha256:{'0' * 64}", set()), ("image.tag=", {WORKER, KEEPER})],
    ids=["tag", "digest", "not pinned"],
)
def test_a_new_version_of_the_chart_restarts_no_pod_whose_image_is_pinned(
    pinned: str, pods: set[str], tmp_path: Path
) -> None:
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    about = yaml.safe_load((chart / "Chart.yaml").read_text()) | {"version": "9.9.9", "appVersion": "9.9.9"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
    assert restarted(templates("--set", pinned), templates("--set", pinned, chart=chart)) == pods
