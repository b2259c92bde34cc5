"""Whether what was rendered is valid, and whether a refusal is a sentence."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chart.helm import objects
from lab.paths import ROOT, tool

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


def traces(message: str, case: str) -> list[str]:
    """What is wrong with how values were refused."""
    if REFUSED_BY_SCHEMA in message:
        return []
    found = [f"{case}: says {trace!r}" for trace in TRACES if trace in message]
    if not REFUSED_BY_CHECKS.search(message):
        found.append(f"{case}: is refused by no check: {message}")
    return found


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


def invalid(manifests: str) -> Iterator[str]:
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


def refused_by_schemas(rendered: dict[str, str], folder: Path) -> str:
    """What the schemas of Kubernetes say of what was rendered; one run for all."""
    folder.mkdir()
    for index, manifests in enumerate(rendered.values()):
        (folder / f"{index}.yaml").write_text(manifests)
    command = [str(tool("kubeconform")), "-strict", "-ignore-missing-schemas", f"-schema-location={_schemas()}"]
    done = subprocess.run([*command, "-kubernetes-version=1.37.0", str(folder)], capture_output=True, text=True)
    cases = list(rendered)
    return re.sub(r"\S+/(\d+)\.yaml", lambda file: cases[int(file[1])], str(done.stdout)) + done.stderr
