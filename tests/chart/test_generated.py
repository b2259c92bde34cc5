"""What is generated is as its sources say; for the goldens, the diff is what a reviewer has to look at."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from lab.generate import GOLDENS, generators
from lab.paths import ROOT

GENERATED = generators()


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: str(path.relative_to(ROOT)))
def test_generated_files_have_not_drifted(path: Path) -> None:
    made, kept = GENERATED[path](), path.read_text() if path.exists() else ""
    diff = difflib.unified_diff(kept.splitlines(), made.splitlines(), "in the repository", "as generated", lineterm="")
    assert made == kept, "run `make generate` and review:\n" + "\n".join(diff)


def test_no_golden_is_left_over() -> None:
    assert set(GOLDENS.glob("*.yaml")) <= GENERATED.keys()
