"""Every pod that the chart makes is admitted where GKE Autopilot's rules and Pod Security ``restricted`` hold."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import ALL_VALUES, objects, render
from lab.admission import RULES, refusal
from lab.cluster.base import AUTOPILOT_RULES
from lab.kubectl import Kubectl
from lab.stage import Stage

SMALL = {"cpu": "50m", "memory": "52Mi"}
EXTENDED = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
LOGS = {"name": "logs", "hostPath": {"path": "/var/log/pods"}}


def pods(values: Path) -> list[dict[str, Any]]:
    """The pods that the chart makes, themselves or by a Deployment."""
    found = []
    for each in objects(render(values=values)):
        if each["kind"] not in {"Deployment", "Pod"}:
            continue
        pod = copy.deepcopy(each["spec"]["template"] if each["kind"] == "Deployment" else each)
        # What is installed beside the pod, and not there in a dry run.
        pod["spec"].pop("priorityClassName", None)
        pod["spec"]["serviceAccountName"] = "default"
        found.append({**pod, "apiVersion": "v1", "kind": "Pod", "metadata": {**pod["metadata"], **each["metadata"]}})
    return found


def pod(
    requests: dict[str, str] | None = None, *, annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    """A pod of one small container, ``main``, and of what ``spec`` gives it; a key with an underscore is main's."""
    main = {"name": "main", "image": "example.invalid/none", "resources": {"requests": requests or SMALL}}
    for key in [key for key in spec if key.startswith("_")]:
        main[key[1:]] = spec.pop(key)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "annotations": annotations or {}},
        "spec": {"containers": [main, *spec.pop("others", [])], **spec},
    }


def beside(requests: dict[str, str], **more: Any) -> dict[str, Any]:
    """Another container."""
    return {"name": "beside", "image": "example.invalid/none", "resources": {"requests": requests}, **more}


def affine(key: str) -> dict[str, Any]:
    """Affinity to nodes that have a label."""
    terms = [{"matchExpressions": [{"key": key, "operator": "Exists"}]}]
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}


APART: dict[str, Any] = {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}

# A pod, and the words about it that name what to change.
REFUSED = {
    "no CPU": (pod({"memory": "1Gi"}), "requests: container main does not request both CPU and memory"),
    "a container without requests": (pod(others=[beside({})]), "requests: container beside does not"),
    "a sidecar without requests": (
        pod(initContainers=[beside({}, restartPolicy="Always")]),
        "requests: container beside does not",
    ),
    "little CPU": (
        pod({"cpu": "40m", "memory": "64Mi"}),
        "minimum: 40m of CPU and 64Mi of memory in all are requested by main",
    ),
    "little memory": (pod({"cpu": "50m", "memory": "51Mi"}), "Request at least 50m and 52Mi"),
    "extended run time": (
        pod({"cpu": "250m", "memory": "512Mi"}, annotations=EXTENDED),
        "Request at least 500m and 512Mi, the least for a pod with podAntiAffinity or extended run time",
    ),
    "anti-affinity": (pod({"cpu": "250m", "memory": "512Mi"}, affinity=APART), "Request at least 500m and 512Mi"),
    "much CPU": (pod({"cpu": "31", "memory": "62Gi"}), "maximum: 31000m of CPU"),
    "much memory": (pod({"cpu": "20", "memory": "111Gi"}), "refuses more than 30 CPU or 110Gi"),
    "more CPU than memory": (
        pod({"cpu": "900m", "memory": "640Mi"}, others=[beside({"cpu": "101m", "memory": "384Mi"})]),
        "ratio: 1001m of CPU and 1024Mi of memory in all are requested by main and beside: Autopilot would raise the "
        "memory to 1Gi for each CPU. Request at least 1026Mi",
    ),
    "more memory than for its CPU": (
        pod({"cpu": "100m", "memory": "700Mi"}),
        "ratio: 100m of CPU and 700Mi of memory in all are requested by main: Autopilot would raise the CPU, to have "
        "6.5Gi for each at most. Request at least 106m",
    ),
    "much storage": (
        pod(_resources={"requests": {**SMALL, "ephemeral-storage": "11Gi"}, "limits": {"ephemeral-storage": "11Gi"}}),
        "ephemeral-storage: 11264Mi in all are requested by main",
    ),
    "storage that may grow": (
        pod(_resources={"requests": {**SMALL, "ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "2Gi"}}),
        "sets each limit to its request",
    ),
    "the node's network": (pod(hostNetwork=True), "host namespaces: the pod sets hostNetwork to true"),
    "the node's processes": (pod(hostPID=True, hostIPC=True), "the pod sets hostPID and hostIPC to true"),
    "privileged": (
        pod(_securityContext={"privileged": True}),
        "privileged: container main sets securityContext.privileged to true",
    ),
    "privileged at first": (
        pod(initContainers=[beside({}, securityContext={"privileged": True})]),
        "privileged: container beside",
    ),
    "a capability": (
        pod(_securityContext={"capabilities": {"add": ["CHOWN", "SYS_ADMIN", "NET_ADMIN"]}}),
        "capabilities: container main adds SYS_ADMIN and NET_ADMIN, which Autopilot refuses",
    ),
    "a folder of the node": (
        pod(volumes=[{"name": "run", "hostPath": {"path": "/run"}}]),
        "hostPath: volume run is /run of the node",
    ),
    "logs to write": (
        pod(volumes=[LOGS], _volumeMounts=[{"name": "logs", "mountPath": "/logs"}]),
        "hostPath: container main may write to the node, which Autopilot refuses. Set readOnly of its volumeMounts of "
        "logs",
    ),
    "a port of the node": (
        pod(_ports=[{"containerPort": 80, "hostPort": 8080}]),
        "hostPort: container main wants port 8080 of the node",
    ),
    "one node": (
        pod(nodeSelector={"kubernetes.io/hostname": "a"}),
        "selectors: the pod asks for nodes by kubernetes.io/hostname",
    ),
    "nodes of a kind of one's own": (pod(affinity=affine("team")), "selectors: the pod asks for nodes by team"),
}

ADMITTED = {
    "the smallest": pod(),
    "CPU for as much memory": pod({"cpu": "1000m", "memory": "1Gi"}),
    "most memory for its CPU": pod({"cpu": "100m", "memory": "665Mi"}),
    "two that are enough together": pod(
        {"cpu": "25m", "memory": "26Mi"}, others=[beside({"cpu": "25m", "memory": "26Mi"})]
    ),
    "room to burst": pod(_resources={"requests": SMALL, "limits": {"cpu": "2", "memory": "2Gi"}}),
    "a first container that takes what the pod has": pod(initContainers=[beside({})]),
    "storage": pod(
        _resources={"requests": {**SMALL, "ephemeral-storage": "1Gi"}, "limits": {"ephemeral-storage": "1Gi"}}
    ),
    "extended run time": pod({"cpu": "500m", "memory": "512Mi"}, annotations=EXTENDED),
    "another class": pod({"cpu": "10m", "memory": "1Gi"}, nodeSelector={"cloud.google.com/compute-class": "c"}),
    "a capability": pod(_securityContext={"capabilities": {"add": ["NET_BIND_SERVICE"]}}),
    "logs to read": pod(volumes=[LOGS], _volumeMounts=[{"name": "logs", "mountPath": "/logs", "readOnly": True}]),
    "Spot in a zone": pod(
        nodeSelector={"cloud.google.com/gke-spot": "true"}, affinity=affine("topology.kubernetes.io/zone")
    ),
    "nodes of a kind of one's own, kept for it": pod(
        nodeSelector={"team": "a"}, tolerations=[{"key": "team", "operator": "Exists"}]
    ),
}


@pytest.fixture(scope="module")
def autopilot(stage: Stage) -> Kubectl:
    """A namespace in which only Autopilot's rules hold: Pod Security would have the first word."""
    kubectl = stage.kubectl.in_namespace("autopilot-rules")
    metadata = {"name": kubectl.namespace, "labels": AUTOPILOT_RULES}
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    kubectl.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})
    return kubectl


@pytest.mark.cluster
@pytest.mark.parametrize("name", ALL_VALUES)
def test_every_pod_of_the_chart_is_admitted(stage: Stage, name: str) -> None:
    made = pods(ALL_VALUES[name])
    assert made
    assert refusal(stage.kubectl, *made) is None


@pytest.mark.cluster
@pytest.mark.parametrize(("offender", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_autopilot_would_refuse_or_change_is_refused(
    autopilot: Kubectl, offender: dict[str, Any], said: str
) -> None:
    assert said in (refusal(autopilot, offender) or "admitted")


@pytest.mark.cluster
@pytest.mark.parametrize("small", ADMITTED.values(), ids=ADMITTED.keys())
def test_what_autopilot_leaves_alone_is_admitted(autopilot: Kubectl, small: dict[str, Any]) -> None:
    assert refusal(autopilot, small) is None


@pytest.mark.cluster
def test_a_deployment_is_refused_for_its_pods(autopilot: Kubectl) -> None:
    small = pod(hostNetwork=True)
    template = {"metadata": {"labels": {"app": "a"}}, "spec": small["spec"]}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}
    assert "host namespaces: the pod sets hostNetwork" in (refusal(autopilot, deployment) or "admitted")


def test_every_rule_has_an_offender() -> None:
    policy = next(yaml.safe_load_all(RULES.read_text()))
    rules = {each["messageExpression"].removeprefix("'").partition(":")[0] for each in policy["spec"]["validations"]}
    assert rules <= {said.partition(":")[0] for _, said in REFUSED.values()}
