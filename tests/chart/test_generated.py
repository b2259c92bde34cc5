"""What is generated is as its sources say; for the goldens, the diff is what a reviewer has to look at."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.generate import GOLDENS, generators
from lab.paths import CHART, ROOT

GENERATED = generators()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_files_have_not_drifted(path: Path) -> None:
    made, kept = GENERATED[path](), path.read_text() if path.exists() else ""
    diff = difflib.unified_diff(kept.splitlines(), made.splitlines(), "in the repository", "as generated", lineterm="")
    assert made == kept, "run `make generate` and review:\n" + "\n".join(diff)


def test_no_golden_is_left_over() -> None:
    assert set(GOLDENS.glob("*.yaml")) <= GENERATED.keys()


def _lost(source: Any, bundled: Any, at: str) -> Iterator[str]:
    """Places of a schema that its bundled form does not have."""
    pairs = source.items() if isinstance(source, dict) else enumerate(source) if isinstance(source, list) else ()
    for key, value in pairs:
        if isinstance(source, dict) and key not in bundled:
            yield f"{at}/{key}"
        else:
            yield from _lost(value, bundled[key], f"{at}/{key}")


@pytest.mark.parametrize("name", ["kubernetes.json", "types.json"])
def test_the_schema_has_all_that_its_sources_say(name: str) -> None:
    """The generator leaves out a type that stands beside `anyOf`, `oneOf` or `not`."""
    source = json.loads((CHART / name).read_text())["$defs"]
    bundled = json.loads((CHART / "values.schema.json").read_text())["$defs"][name]["$defs"]
    assert not list(_lost(source, bundled, ""))
