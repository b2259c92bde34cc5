"""Values that nobody should give: each makes valid objects, or is refused in a sentence.

Every leaf and every map of values.yaml, and of what its lists may hold, is given every hostile value. One render says
which of them the schema refuses, since Helm reports all of these at once; only what it lets through is rendered.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.default_values import LEAVES, PLACES, Place, placed
from chart.helm import MAJORS, MINIMAL, RenderError, merged, objects, render
from lab.generate import EVERYTHING
from lab.paths import CHART, ROOT, tool

HUGE = 99999999999999999999
HOSTILE: dict[str, Any] = {
    "null": None,
    "empty text": "",
    "empty list": [],
    "empty map": {},
    "list of text": ["x"],
    "list of maps": [{"a": 1}],
    "list of named maps": [{"name": "x", "a": 1}],
    "map of a number": {"a": 1},
    "map of maps": {"a": {"b": []}},
    "map with a bad key": {"no key!": "x"},
    "map of long text": {"a": "x" * 64},
    "long text": "x" * 10_000,
    "unicode": "ключ ☎ \u202e\n",
    "text that looks like a number": "1e3",
    "text that looks like a word of YAML": "null",
    "negative": -1,
    "huge": HUGE,
    "fraction": 0.5,
    "true": True,
}
# What Go's templates, Helm's engine and its YAML reader say, where a sentence should be.
TRACES = (
    "error calling",
    "nil pointer",
    "at <",
    "wrong type for value",
    "can't evaluate field",
    "interface conversion",
    "YAML parse error",
    "error converting YAML",
    "%!",
    "<nil>",
)
REFUSED_BY_SCHEMA = "values don't meet the specifications of the schema"
REFUSED_BY_CHECKS = re.compile(r"\d+ problems? in the values:\n\n  \* ")
LABEL = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

MAPS = [place for place in PLACES if place not in LEAVES]

_SELECTOR: Any = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d"]}]}
_NODES: Any = {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
_PODS: Any = {"labelSelector": _SELECTOR, "topologyKey": "t", "namespaces": ["n"]}
_PORTS: Any = [{"port": 1, "endPort": 2, "protocol": "TCP"}]
_PEERS: Any = [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}, {"podSelector": _SELECTOR}]
_PROBE: Any = {"httpGet": {"port": 1, "path": "/", "httpHeaders": [{"name": "a", "value": "b"}]}, "periodSeconds": 1}
# One item at least of every list.
ITEMS: dict[str, Any] = {
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [_NODES]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": _NODES}],
        },
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [_PODS],
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": _PODS}],
        },
    },
    "args": ["a"],
    "autoscaling": {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}]}}},
    "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a"], "options": [{"name": "ndots", "value": "1"}]},
    "extraContainers": [
        {
            "name": "c",
            "image": "i",
            "command": ["a"],
            "env": [{"name": "A", "value": "b"}],
            "ports": [{"containerPort": 1}],
            "readinessProbe": _PROBE,
            "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "1"}},
            "securityContext": {"capabilities": {"drop": ["ALL"]}, "runAsUser": 1},
            "volumeMounts": [{"name": "tmp", "mountPath": "/a"}],
        }
    ],
    "extraEnv": [
        {"name": "A", "value": "b"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "D", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}},
    ],
    "extraEnvFrom": [{"configMapRef": {"name": "c", "optional": True}, "prefix": "p"}, {"secretRef": {"name": "s"}}],
    "extraObjects": [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "o"}}],
    "extraPorts": [{"name": "p", "containerPort": 1, "protocol": "TCP", "hostIP": "10.0.0.1"}],
    "extraVolumeMounts": [{"name": "tmp", "mountPath": "/a", "readOnly": True, "subPath": "a"}],
    "extraVolumes": [
        {"name": "a", "configMap": {"name": "c", "items": [{"key": "k", "path": "p", "mode": 1}], "optional": True}},
        {"name": "b", "secret": {"secretName": "s", "items": [{"key": "k", "path": "p"}], "defaultMode": 1}},
        {"name": "c", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "c", "readOnly": True}},
        {"name": "e", "hostPath": {"path": "/p", "type": "Directory"}},
        {"name": "f", "csi": {"driver": "d", "readOnly": True, "volumeAttributes": {"a": "b"}}},
        {"name": "g", "projected": {"sources": [{"configMap": {"name": "c"}}], "defaultMode": 1}},
    ],
    "global": {"imagePullSecrets": [{"name": "r"}, "s"]},
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["h"]}],
    "keeper": {
        "extraEnv": [{"name": "A", "value": "b"}],
        "extraEnvFrom": [{"secretRef": {"name": "s"}}],
        "tolerations": [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}],
    },
    "lifecycle": {"postStart": {"exec": {"command": ["a"]}}},
    "networkPolicy": {
        "egressCIDRs": ["10.0.0.0/8"],
        "extraEgress": [{"to": _PEERS, "ports": _PORTS}],
        "extraIngress": [{"from": _PEERS, "ports": _PORTS}],
        "metricsFrom": [{"namespaceSelector": _SELECTOR}],
    },
    "podSecurityContext": {"supplementalGroups": [1], "sysctls": [{"name": "s", "value": "1"}]},
    "telemetry": {"metrics": {"metricRelabelings": [{"action": "replace", "sourceLabels": ["a"], "targetLabel": "b"}]}},
    "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}],
    "topologySpreadConstraints": [
        {
            "maxSkew": 1,
            "minDomains": 1,
            "topologyKey": "t",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": _SELECTOR,
            "matchLabelKeys": ["l"],
            "nodeTaintsPolicy": "Honor",
        }
    ],
}


def _item_places(node: Any, at: Place = ()) -> Iterator[Place]:
    """The place of everything that is in a list."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        place = (*at, str(key))
        if any(part.isdigit() for part in place):
            yield place
        yield from _item_places(value, place)


def _step(node: Any, key: str) -> Any:
    return node[int(key) if isinstance(node, list) else key]


def _items_with(paths: list[Place], value: Any) -> dict[str, Any]:
    # Not copy.deepcopy, which keeps what several places share in one piece.
    values: dict[str, Any] = json.loads(json.dumps(ITEMS))
    for *above, last in paths:
        node = functools.reduce(_step, above, values)
        node[int(last) if isinstance(node, list) else last] = value
    return values


def _all_with(paths: list[Place], value: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path in paths:
        values = merged(values, placed(path, value))
    return values


Fill = Callable[[list[Place], Any], dict[str, Any]]


def _render(values: dict[str, Any], folder: Path) -> str:
    written = folder / "values.yaml"
    # JSON is YAML, and says every number as it is.
    written.write_text(json.dumps(values))
    return render("--values", str(EVERYTHING), values=written)


def _traces(message: str, case: str) -> list[str]:
    """What is wrong with how values were refused."""
    if REFUSED_BY_SCHEMA in message:
        return []
    found = [f"{case}: says {trace!r}" for trace in TRACES if trace in message]
    if not REFUSED_BY_CHECKS.search(message):
        found.append(f"{case}: is refused by no check: {message}")
    return found


def _let_through(paths: list[Place], value: Any, folder: Path, fill: Fill = _all_with) -> list[Place]:
    """Those of the paths whose value the schema does not refuse.

    Helm's messages have the place of what is refused, which may lie in the value, and for a value that is missing
    its map and its name.
    """
    try:
        _render(fill(paths, value), folder)
    except RenderError as refused:
        message = str(refused)
    else:
        return paths
    if REFUSED_BY_SCHEMA not in message:
        return paths
    places = {tuple(place.strip("/").split("/")) for place in re.findall(r"at '([^']*)'", message)}
    for place, names in re.findall(r"at '([^']*)': missing propert(?:y|ies) (.*)", message):
        above = tuple(part for part in place.split("/") if part)
        places |= {(*above, name) for name in re.findall(r"'([^']+)'", names)}
    return [path for path in paths if not any(place[: len(path)] == path for place in places)]


def _scalars(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of an object, with its place."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _scalars(value, f"{at}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _scalars(value, f"{at}/{index}")
    else:
        yield at, node


def _invalid(manifests: str) -> Iterator[str]:
    """What Kubernetes asks and schemas do not say: names, labels, and integers where numbers are."""
    for each in objects(manifests):
        for at, value in _scalars(each):
            place = f"{each['kind']}{at} is {value!r}"
            number = isinstance(value, int | float) and not isinstance(value, bool)
            least = -10 if each["kind"] == "PriorityClass" else 0
            if number and "/resources/" not in at and not (isinstance(value, int) and least <= value < 2**31):
                yield place
            if at == "/metadata/name" and not NAME.fullmatch(str(value)):
                yield place
            label = re.search(r"/(labels|matchLabels|nodeSelector)/", at)
            if label and not (isinstance(value, str) and LABEL.fullmatch(value)):
                yield place
            if re.search(r"(/name|/namespace|[nN]ame|/key)$", at) and not (
                isinstance(value, str) and 0 < len(value) <= 253 and value.isascii()
            ):
                yield place


@functools.cache
def _schemas() -> str:
    done = subprocess.run([sys.executable, "tools/schemas.py", "1.37.0"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip()


def _refused_by_schemas(rendered: dict[str, str], folder: Path) -> str:
    """What the schemas of Kubernetes say of what was rendered; one run for all."""
    folder.mkdir()
    for index, manifests in enumerate(rendered.values()):
        (folder / f"{index}.yaml").write_text(manifests)
    command = [str(tool("kubeconform")), "-strict", "-ignore-missing-schemas", f"-schema-location={_schemas()}"]
    done = subprocess.run([*command, "-kubernetes-version=1.37.0", str(folder)], capture_output=True, text=True)
    cases = list(rendered)
    return re.sub(r"\S+/(\d+)\.yaml", lambda file: cases[int(file[1])], str(done.stdout)) + done.stderr


def _try(paths: list[Place], value: Any, folder: Path, fill: Fill = _all_with) -> tuple[dict[str, str], list[str]]:
    """What the values at the paths make, by case, and what is wrong with how they are refused.

    All are rendered together; those that the message names, or else each half, again by themselves.
    """
    case = ", ".join(".".join(path) for path in paths)
    try:
        return {case: _render(fill(paths, value), folder)}, []
    except RenderError as refused:
        message = str(refused)
    if len(paths) == 1:
        return {}, _traces(message, case)
    named = [path for path in paths if ".".join(path) in message]
    rest = [path for path in paths if path not in named]
    half = len(rest) // 2
    parts = [*([path] for path in named), rest] if named else [rest[:half], rest[half:]]
    rendered: dict[str, str] = {}
    wrong: list[str] = []
    for part in filter(None, parts):
        more, worse = _try(part, value, folder, fill)
        rendered |= more
        wrong += worse
    return rendered, wrong


def _generations(paths: list[Place]) -> list[list[Place]]:
    """The paths by how many of them they lie in: none of one generation lies in another of it."""
    known = set(paths)
    ages = {path: sum(path[:length] in known for length in range(len(path))) for path in paths}
    return [[path for path in paths if ages[path] == age] for age in sorted(set(ages.values()))]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_value_makes_an_invalid_object_or_a_trace(hostile: str, tmp_path: Path) -> None:
    value = HOSTILE[hostile]
    rendered: dict[str, str] = {}
    wrong: list[str] = []
    for paths in (LEAVES, *_generations(MAPS)):
        if accepted := _let_through(paths, value, tmp_path):
            more, worse = _try(accepted, value, tmp_path)
            rendered |= more
            wrong += worse
    for case, manifests in rendered.items():
        wrong += [f"{case}: {place}" for place in _invalid(manifests)]
    assert not wrong, "\n".join(wrong)
    said = _refused_by_schemas(rendered, tmp_path / "rendered")
    assert not said, said


ITEM_PLACES = list(_item_places(ITEMS))
ITEM_LEAVES = [
    place
    for place in ITEM_PLACES
    if not any(len(other) > len(place) and other[: len(place)] == place for other in ITEM_PLACES)
]
ITEM_MAPS = [place for place in ITEM_PLACES if place not in ITEM_LEAVES]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_in_a_list_makes_an_invalid_object_or_a_trace(hostile: str, tmp_path: Path) -> None:
    value = HOSTILE[hostile]
    rendered: dict[str, str] = {}
    wrong: list[str] = []
    for paths in (ITEM_LEAVES, *_generations(ITEM_MAPS)):
        if accepted := _let_through(paths, value, tmp_path, _items_with):
            more, worse = _try(accepted, value, tmp_path, _items_with)
            rendered |= more
            wrong += worse
    for case, manifests in rendered.items():
        wrong += [f"{case}: {place}" for place in _invalid(manifests)]
    assert not wrong, "\n".join(wrong)
    said = _refused_by_schemas(rendered, tmp_path / "rendered")
    assert not said, said


RELEASES = ["a" * 53, f"{'a' * 51}-b", f"voice-agent-{'b' * 41}", "123", "1e3", "true", "null", "with.dot", "x-9"]


@pytest.mark.parametrize("more", ["", "fullnameOverride=null", "nameOverride=y"])
def test_names_of_releases(more: str, tmp_path: Path) -> None:
    rendered: dict[str, str] = {}
    wrong: list[str] = []
    for name in RELEASES:
        try:
            rendered[name] = render("--set-string", more, values=EVERYTHING, release=name)
        except RenderError as refused:
            wrong += _traces(str(refused), name)
    assert not wrong
    for name, manifests in rendered.items():
        assert not list(_invalid(manifests)), name
    assert not _refused_by_schemas(rendered, tmp_path / "rendered")
    good = {name for name in RELEASES if re.fullmatch(r"[a-z][-a-z0-9]*", name)}
    assert rendered.keys() == (set(RELEASES) if more.startswith("fullname") else good)


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that depends on ours, by its path."""
    folder = tmp_path_factory.mktemp("parent")
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    dependency = {"name": "voice-agent", "version": "*", "repository": f"file://{CHART}"}
    dependency["condition"] = "voice-agent.enabled"
    (folder / "Chart.yaml").write_text(json.dumps({**chart, "dependencies": [dependency]}))
    subprocess.run([tool("helm"), "dependency", "build", folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize(
    ("shared", "kinds"),
    [
        ({}, {"Deployment"}),
        (None, {"Deployment"}),
        ({"imageRegistry": None, "imagePullSecrets": None}, {"Deployment"}),
        ({"imageRegistry": "r.example", "imagePullSecrets": [{"name": "r"}], "other": {"a": [1]}}, {"Deployment"}),
        ({"imageRegistry": ["r.example"]}, set()),
        ({"imagePullSecrets": "r"}, set()),
        (["r.example"], {"Deployment"}),
    ],
    ids=repr,
)
def test_what_a_parent_chart_shares(parent: Path, tmp_path: Path, shared: Any, kinds: set[str]) -> None:
    values = {"global": shared, "voice-agent": yaml.safe_load(EVERYTHING.read_text())}
    written = tmp_path / "values.json"
    written.write_text(json.dumps(values))
    if not kinds:
        with pytest.raises(RenderError, match=re.escape(REFUSED_BY_SCHEMA)):
            render(values=written, chart=parent)
        return
    manifests = render(values=written, chart=parent)
    assert not list(_invalid(manifests))
    assert kinds <= {each["kind"] for each in objects(manifests)}
    assert not _refused_by_schemas({"parent": manifests}, tmp_path / "rendered")


@pytest.mark.parametrize("helm", MAJORS)
def test_a_parent_chart_takes_defaults_away_without_null(parent: Path, tmp_path: Path, helm: str) -> None:
    """Helm 4 loses the nulls of a parent's own values.yaml, and of what is given by the command line it does not."""
    chart = shutil.copytree(parent, tmp_path / "chart")
    values = {
        **yaml.safe_load(MINIMAL.read_text()),
        "autoscaling": {"enabled": False},
        "command": ["python"],
        "keeper": {"enabled": False},
        "podDisruptionBudget": {"maxUnavailable": "", "minAvailable": 1},
        "probes": {"startup": False, "readiness": False, "liveness": False},
        "replicas": 2,
    }
    (chart / "values.yaml").write_text(json.dumps({"voice-agent": values}))
    made = {
        each["kind"]: each["spec"] for each in objects(render(values=None, chart=chart, helm=helm)) if "spec" in each
    }
    assert made["PodDisruptionBudget"]["minAvailable"] == 1
    assert "maxUnavailable" not in made["PodDisruptionBudget"]
    assert made["Deployment"]["replicas"] == 2
    assert not [key for key in made["Deployment"]["template"]["spec"]["containers"][0] if "Probe" in key]


def test_a_parent_chart_switches_it_off(parent: Path, tmp_path: Path) -> None:
    written = tmp_path / "values.json"
    written.write_text(json.dumps({"voice-agent": {"enabled": False}}))
    assert not objects(render(values=written, chart=parent))
