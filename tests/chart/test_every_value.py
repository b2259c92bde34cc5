"""Every value changes what is rendered: none is read by nobody."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from chart.default_values import LEAVES, VALUES, Place, placed
from chart.helm import RenderError, merged, objects, render
from lab.generate import EVERYTHING
from lab.paths import CHART

Values = dict[str, Any]

UNDER = yaml.safe_load(EVERYTHING.read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALIDATOR = Draft7Validator(SCHEMA)

# What some value or other may be besides what it is; the first that the schema and the checks accept is given.
NUMBERS = [1, 2, 3, 60, 300]
TEXTS = [
    *("x-1", "X", "1", "7s", "64mb", "4Gi", "10%", "1.5", "a.b:C", "a@b.example", f"sha256:{'a' * 64}"),
    *("wss://x.example", "http://x.example:1", "redis://x.example"),
]
LISTS: list[Any] = [
    ["x"],
    ["10.0.0.0/8"],
    [{"name": "x", "value": "y"}],
    [{"name": "tmp", "mountPath": "/x"}],
    [{"name": "x", "emptyDir": {}}],
    [{"name": "x", "image": "y"}],
    [{"configMapRef": {"name": "x"}}],
    [{"containerPort": 1234, "name": "x"}],
    [{"key": "x", "operator": "Exists"}],
    [{"maxSkew": 2, "topologyKey": "x", "whenUnsatisfiable": "DoNotSchedule"}],
    [{"ip": "10.0.0.1", "hostnames": ["x"]}],
    [{"podSelector": {}}],
    [{"from": [{"podSelector": {}}]}],
    [{"to": [{"podSelector": {}}]}],
    [{"action": "labeldrop", "regex": "x"}],
    [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}],
]
MAPS: list[Any] = [
    {"x": "y"},
    {"requests": {"cpu": "3"}},
    {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{}]}}},
    {"preStop": {"sleep": {"seconds": 1}}},
    {"nameservers": ["10.0.0.1"]},
]

# What must be besides, for a value to be of use.
_IN_MEMORY: Values = {"state": {"store": "memory", "valkey": {"enabled": False}}, "secretManager": {"enabled": False}}
_SECRETS: Values = {"secretManager": {"enabled": False}, "state": {"encryption": {"existingSecret": {"name": "s"}}}}
_SERVER: Values = {"state": {"valkey": {"enabled": False}, "redis": {"url": "rediss://redis.example"}}}
_NO_PROBES: Values = {"probes": {"startup": None, "readiness": None, "liveness": None}}
_VERTEX: Values = {
    "gemini": {"apiKey": {"existingSecret": {"name": ""}}, "vertexai": {"enabled": True, "project": "p"}}
}
_LIVEKIT: Values = {"livekit": {"existingSecret": {"name": ""}}, "externalSecrets": {"enabled": False}}
WHERE: Values = {
    "replicas": {"autoscaling": {"enabled": False}},
    "autoscaling.targetCPUUtilizationPercentage": {"autoscaling": {"mode": "cpu"}},
    "autoscaling.external": {"autoscaling": {"mode": "external"}},
    "autoscaling.keda.authenticationRef.kind": {"autoscaling": {"keda": {"authenticationRef": {"name": "a"}}}},
    "command": {
        **_NO_PROBES,
        "telemetry": {"metrics": {"monitor": "none", "rules": {"enabled": False}}},
        "autoscaling": {"mode": "cpu"},
    },
    "drain.finishWithinSeconds": {"drain": {"gracePeriodSeconds": 610}},
    "externalSecrets.remote.state": _SECRETS,
    "externalSecrets.remote.livekit": {"livekit": {"existingSecret": {"name": "l"}}},
    "gemini.vertexai": _VERTEX,
    "gemini.vertexai.enabled": {},
    "gke.spot": {"drain": {"gracePeriodSeconds": 25, "finishWithinSeconds": 3}},
    "keeper.enabled": _IN_MEMORY,
    "keeper.serviceAccount.create": {"keeper": {"serviceAccount": {"name": "k"}}},
    "secretManager.enabled": _IN_MEMORY,
    "secretManager.secrets.gemini": {"gemini": {"apiKey": {"existingSecret": {"name": ""}}}},
    "secretManager.secrets.livekit.apiKey": {**_LIVEKIT, "secretManager": {"secrets": {"livekit": {"apiSecret": "s"}}}},
    "secretManager.secrets.livekit.apiSecret": {**_LIVEKIT, "secretManager": {"secrets": {"livekit": {"apiKey": "k"}}}},
    "secretManager.secrets.redis": merged(_SERVER, {"state": {"redis": {"existingSecret": {"name": ""}}}}),
    "serviceAccount.create": {"serviceAccount": {"name": "a"}},
    "state.encryption": _SECRETS,
    "state.redis": _SERVER,
    "state.redis.ca.key": {
        "state": {**_SERVER["state"], "redis": {**_SERVER["state"]["redis"], "ca": {"secretName": "c"}}}
    },
    "telemetry.traces": {"telemetry": {"traces": {"exporter": "otlp", "otlpEndpoint": "http://collector:4318"}}},
}

# What must be besides another value than the one that it has.
WITH: Values = {
    "gemini.vertexai.enabled": _VERTEX,
    "lifecycle": {"drain": {"timeoutSeconds": 580}},
    "podDisruptionBudget.minAvailable": {"podDisruptionBudget": {"maxUnavailable": None}},
    "state.store": _IN_MEMORY,
    "state.valkey.enabled": {"state": {"redis": {"url": "rediss://redis.example"}}},
}


NAMES = {".".join(path): path for path in LEAVES}


def _where(name: str) -> dict[str, Any]:
    """What the longest prefix of the value's name asks for."""
    asked = [where for where in WHERE if f"{name}.".startswith(f"{where}.")]
    return dict(WHERE[max(asked, key=len)]) if asked else {}


def _node(path: Place) -> list[dict[str, Any]]:
    """What the schema says of a value: its own words, and those that it refers to."""
    node = SCHEMA
    for key in path:
        named = [each["properties"][key] for each in _parts(node) if key in each.get("properties", {})]
        others = [each["additionalProperties"] for each in _parts(node) if each.get("additionalProperties")]
        node = next(each for each in [*named, *others] if isinstance(each, dict))
    return _parts(node)


def _parts(node: dict[str, Any]) -> list[dict[str, Any]]:
    named = [node, *node.get("allOf", [])]
    referred = [
        functools.reduce(lambda level, key: level[key], each["$ref"].split("/")[1:], SCHEMA)
        for each in named
        if "$ref" in each
    ]
    return named + [part for each in referred for part in _parts(each)]


def _candidates(path: Place, is_now: Any) -> Iterator[Any]:
    """Other values that the schema accepts."""
    parts = _node(path)
    enums = [value for part in parts for value in part.get("enum", [])]
    numbers = [is_now + 1, is_now - 1] if isinstance(is_now, int) else []
    for value in [*enums, True, False, *numbers, *NUMBERS, *TEXTS, *LISTS, *MAPS]:
        same = value == is_now and isinstance(value, bool) == isinstance(is_now, bool)
        if (
            not same
            and value not in (None, "")
            and all(VALIDATOR.evolve(schema=part).is_valid(value) for part in parts)
        ):
            yield value


class Renders:
    """Renders values over those of everything.yaml, none of them twice."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done: dict[str, str] = {}

    def __call__(self, values: dict[str, Any]) -> str:
        text = json.dumps(values)
        if text not in self._done:
            file = self._folder / "values.yaml"
            file.write_text(text)
            self._done[text] = render(values=file)
        return self._done[text]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Renders:
    return Renders(tmp_path_factory.mktemp("values"))


@pytest.mark.parametrize("name", NAMES)
def test_every_value_is_read(name: str, rendered: Renders) -> None:
    path, under = NAMES[name], merged(UNDER, _where(name))
    is_now = functools.reduce(lambda level, key: level[key], path, merged(VALUES, under))
    beside = merged(under, WITH.get(name, {}))
    others = (merged(beside, placed(path, value)) for value in _candidates(path, is_now))
    made: list[str] = []
    refused: list[str] = []
    # What is beside it changes something itself: without that only if nothing else tells of the value.
    for values in [beside, *others, under]:
        try:
            made.append(rendered(values))
        except RenderError as error:
            refused.append(str(error))
        if len(set(made)) == 2:
            # It is YAML, without a key that is there twice.
            objects(made[-1])
            return
        assert len(made) < 3, f"{name} changes nothing"
    pytest.fail(f"{len(made)} values of {name} were accepted, and two must be:\n" + "\n".join(refused))
