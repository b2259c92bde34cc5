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


def objects(manifests: str) -> list[dict[str, Any]]:
    """The manifests as objects."""
    return [document for document in yaml.safe_load_all(manifests) if document]
