"""A real Argo CD keeps the chart of a Git repository synced, whatever autoscalers do, and no commit loses a call.

The Applications are those of examples/gitops, but for the repository and the destination. The environments dev, staging
and prod are committed with the image, the servers and the Secrets of the lab, since theirs are not here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from chart.helm import merged
from lab.argocd import EXAMPLE, ArgoCD, Repository, application, argo_cd
from lab.callers import CallPlan
from lab.cluster.base import product_namespace
from lab.disruptions import fleet
from lab.matrix import Row, run
from lab.matrix.rows import Promise
from lab.matrix.scene import Effect, Scene
from lab.services import share
from lab.stage import Stage

pytestmark = pytest.mark.cluster

CALLS = 2
# The lab's own environment, and the same with an autoscaler that one idle worker is enough for to add another.
LOCAL, AUTOSCALED = "local", "autoscaled"
AUTOSCALER = {"enabled": True, "minReplicas": 1, "maxReplicas": 2, "targetCPUUtilizationPercentage": 1}
ENVIRONMENTS = ("dev", "staging", "prod")
# What pods need to run here, as the lab's own environment has it.
OF_THE_LAB = ("image", "livekit", "gemini", "extraEnv", "extraVolumes", "extraVolumeMounts")
# No account of Google's is here; and without calls, three fleets are small.
WITHOUT_GOOGLE = {"gemini": {"vertexai": {"enabled": False}}, "telemetry": {"traces": {"exporter": "none"}}}
SMALL = {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}}


@pytest.fixture(scope="module")
def argocd(stage: Stage) -> Iterator[ArgoCD]:
    # Another release's keepers would look after the same calls.
    stage.uninstall()
    with argo_cd(stage.kubectl) as running:
        yield running


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("gitops") / "repository")
    autoscaled = made.values(LOCAL) | {"autoscaling": AUTOSCALER, "keeper": {"enabled": False}}
    made.commit(AUTOSCALED, autoscaled | {"agent": {"name": AUTOSCALED}})
    lab = {key: made.values(LOCAL)[key] for key in OF_THE_LAB}
    for environment in ENVIRONMENTS:
        here = merged(merged(lab, WITHOUT_GOOGLE), SMALL | {"agent": {"name": environment}})
        made.commit(environment, merged(made.values(environment), here))
    return made


@pytest.fixture(scope="module")
def environments(stage: Stage, argocd: ArgoCD, repository: Repository) -> Iterator[dict[str, Stage]]:
    """The lab's own, each with an Application and a namespace of its own."""
    with _applied(stage, argocd, repository, LOCAL, AUTOSCALED) as stages:
        yield stages


@contextmanager
def _applied(stage: Stage, argocd: ArgoCD, repository: Repository, *environments: str) -> Iterator[dict[str, Stage]]:
    """Applications of environments, by the environment, and the releases that they make.

    Args:
        stage: the cluster.
        argocd: makes the releases.
        repository: has the environments' values.
        environments: their names.
    """
    stages: dict[str, Stage] = {}
    try:
        for environment in environments:
            made = application(environment, repository.url, f"argocd-{environment}")
            spec = made["spec"]
            kubectl = stage.kubectl.in_namespace(spec["destination"]["namespace"])
            stages[environment] = replace(stage, kubectl=kubectl, release=spec["source"]["helm"]["releaseName"])
            kubectl.apply(product_namespace(kubectl.namespace))
            share(stage.kubectl, kubectl)
            argocd.kubectl.apply(made)
        yield stages
    finally:
        argocd.delete(*(_name(environment) for environment in stages))
        namespaces = [each.kubectl.namespace for each in stages.values()]
        stage.kubectl.run("delete", "namespace", *namespaces, "--ignore-not-found")


def _name(environment: str) -> str:
    return str(application(environment, "", "")["metadata"]["name"])


def test_argo_cd_takes_the_example(argocd: ArgoCD) -> None:
    argocd.kubectl.run("apply", "--dry-run=server", "-f", str(EXAMPLE))


def test_the_local_environment_is_synced_and_healthy(argocd: ArgoCD, environments: dict[str, Stage]) -> None:
    argocd.synced(_name(LOCAL))
    argocd.healthy(_name(LOCAL))
    argocd.refresh(_name(LOCAL))
    assert not argocd.differences(_name(LOCAL))
    # The chart's test is Helm's to run; a sync neither waits for it nor starts it.
    pods = environments[LOCAL].kubectl.items("pods")
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods} == {"worker", "keeper"}


@pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"])
async def test_a_commit_rolls_out_and_loses_no_call(
    argocd: ArgoCD, repository: Repository, environments: dict[str, Stage], plan: CallPlan
) -> None:
    argocd.healthy(_name(LOCAL))

    def commit(stage: Stage) -> set[str]:
        before = stage.worker_names()
        values = repository.values(LOCAL)
        values["agent"]["callMemoryLimitMiB"] = 600 + time.time_ns() % 100
        revision = repository.commit(LOCAL, values)
        argocd.refresh(_name(LOCAL))
        argocd.synced(_name(LOCAL), revision)
        return fleet.replaced(stage, before)

    async def disrupt(scene: Scene) -> Effect:
        began = time.time()
        return Effect.told(began, await asyncio.to_thread(commit, scene.stage))

    row = Row("commit", "a changed value committed to Git", Promise.PLANNED, disrupt, moves=1)
    trial = await run(environments[LOCAL], row, replace(plan, give_up_after=8, pause_s=1.0), CALLS)
    print(f"{row.title}: {trial.outcome}")
    trial.check()


def test_an_autoscaler_that_scales_on_measured_load_changes_nothing_that_is_synced(
    argocd: ArgoCD, environments: dict[str, Stage]
) -> None:
    _scaled(argocd, AUTOSCALED, environments[AUTOSCALED])
    argocd.healthy(_name(AUTOSCALED))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_synced_and_healthy_and_stays_so_when_it_was_scaled(
    stage: Stage, argocd: ArgoCD, repository: Repository, environment: str
) -> None:
    with _applied(stage, argocd, repository, environment) as stages:
        _scaled(argocd, environment, stages[environment])
        argocd.healthy(_name(environment))


def _scaled(argocd: ArgoCD, environment: str, stage: Stage) -> None:
    """Wait until the autoscaler has scaled the workers, and see that Argo CD finds nothing to do about it."""
    name = _name(environment)
    argocd.synced(name)
    first = argocd.status(name)["operationState"]["startedAt"]
    workers = stage.kubectl.get("deployment", stage.deployment, "--show-managed-fields")["metadata"]["managedFields"]
    [applied] = [entry for entry in workers if entry["operation"] == "Apply"]
    assert "f:replicas" not in applied["fieldsV1"]["f:spec"], "the chart and the autoscaler both set the count"
    autoscaler = stage.kubectl.get("hpa", stage.deployment)["spec"]
    # Without a metric an autoscaler still sees to the least; the Deployment began with one.
    wanted = max(2, autoscaler["minReplicas"])
    waiting = f"--for=jsonpath={{.spec.replicas}}={wanted}"
    stage.kubectl.run("wait", waiting, f"deployment/{stage.deployment}", "--timeout=120s")
    argocd.refresh(name)
    assert not argocd.differences(name)
    assert argocd.status(name)["operationState"]["startedAt"] == first, "it was synced anew"
