"""What the chart's lists may hold, and the places in that."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from chart.default_values import Place, leaves

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


ITEM_PLACES = list(_item_places(ITEMS))
ITEM_LEAVES = leaves(ITEM_PLACES)
ITEM_MAPS = [place for place in ITEM_PLACES if place not in ITEM_LEAVES]


def _step(node: Any, key: str) -> Any:
    return node[int(key) if isinstance(node, list) else key]


def items_with(paths: list[Place], value: Any) -> dict[str, Any]:
    """The lists, with one value at each of the places."""
    # Not copy.deepcopy, which keeps what several places share in one piece.
    values: dict[str, Any] = json.loads(json.dumps(ITEMS))
    for *above, last in paths:
        node = functools.reduce(_step, above, values)
        node[int(last) if isinstance(node, list) else last] = value
    return values
