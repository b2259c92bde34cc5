"""The schemas that kubeconform reads are whole, strict and on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1]
VERSION = "1.35.0"


def _schemas(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, TOOLS / "schemas.py", *arguments], capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder() -> Path:
    done = _schemas(VERSION)
    assert done.returncode == 0, done.stderr
    # Where kubeconform looks below a -schema-location, when it is told -strict.
    return Path(done.stdout.strip()) / f"v{VERSION}-standalone-strict"


def test_every_reference_is_found_beside_the_schema(folder: Path) -> None:
    definitions = json.loads((folder / "_definitions.json").read_text())["$defs"]
    for name in ("deployment-apps-v1", "horizontalpodautoscaler-autoscaling-v2", "networkpolicy-networking-v1"):
        schema = (folder / f"{name}.json").read_text()
        references = re.findall(r'"\$ref": "([^"]+)"', schema)
        assert references, name
        assert {reference.partition("#/$defs/")[0] for reference in references} == {"_definitions.json"}
        assert {reference.partition("#/$defs/")[2] for reference in references} <= definitions.keys()
        # Else references would be looked up on the internet, against it.
        assert "$id" not in json.loads(schema)


def test_a_misspelt_field_is_not_allowed(folder: Path) -> None:
    container = json.loads((folder / "_definitions.json").read_text())["$defs"]["io.k8s.api.core.v1.Container"]
    assert container["additionalProperties"] is False


def test_an_unknown_version_is_refused_with_the_known_ones() -> None:
    done = _schemas("1.99.0")
    assert done.returncode != 0
    assert "'1.99.0': use one of 1.25.0, 1.26.0" in done.stderr
    assert "Traceback" not in done.stderr
