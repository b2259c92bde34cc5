"""helm template, as a function."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from lab.generate import values_files, values_with_crds
from lab.paths import CHART, tool

NAMESPACE = "voice-agent"
# Both majors that are in support.
MAJORS = ("helm", "helm3")
MINIMAL = CHART / "tests" / "values" / "minimal.yaml"
VALUES_FILES = values_files()
WITH_CRDS = values_with_crds()
ALL_VALUES = VALUES_FILES | WITH_CRDS
# Kinds of others: those whose definitions the local cluster can be given, and all.
DEFINED = {"ExternalSecret", "PodMonitor", "PrometheusRule", "ScaledObject", "ServiceMonitor", "VerticalPodAutoscaler"}
CUSTOM = DEFINED | {"PodMonitoring", "Rules", "SecretProviderClass"}


class RenderError(Exception):
    """helm refused the values; the message is what it said."""


def render(
    *args: str, values: Path | None = MINIMAL, release: str = "demo", chart: Path = CHART, helm: str = MAJORS[0]
) -> str:
    """The manifests as text.

    Raises:
        RenderError: helm failed.
    """
    command = [str(tool(helm)), "template", release, str(chart), "--namespace", NAMESPACE, *args]
    if values:
        command += ["--values", str(values)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RenderError(done.stderr)
    return done.stdout


def merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Values with others over them, map by map, as Helm merges its files."""
    result = dict(under)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def same_on_both(manifests: str) -> str:
    """The manifests without the empty line that Helm 4 leaves after each document and Helm 3 does not."""
    return re.sub(r"\n\n(?=---\n|\Z)", "\n", manifests)


class _Loader(yaml.CSafeLoader):
    """Refuses a key that is there twice, which YAML forbids and most readers take."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise yaml.constructor.ConstructorError(None, None, f"twice: {', '.join(sorted(twice))}", node.start_mark)
        return super().construct_mapping(node, deep)


def objects(manifests: str) -> list[dict[str, Any]]:
    """The manifests as objects.

    Raises:
        yaml.YAMLError: they are no YAML, or an object has a key twice.
    """
    return [document for document in yaml.load_all(manifests, _Loader) if document]
