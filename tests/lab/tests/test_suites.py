from __future__ import annotations

import tomllib

import pytest

from lab.paths import ROOT
from lab.suites import COMPUTING, LIVE, counted


def test_every_folder_of_tests_is_run() -> None:
    paths = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    assert set(paths) <= {word for suite in (COMPUTING, *LIVE) for word in suite}


@pytest.mark.parametrize(
    ("closing", "passed", "failed", "skipped"),
    [
        ("===== 12 passed in 3.14s =====", 12, 0, 0),
        ("= 1 failed, 11 passed, 2 skipped, 3 deselected, 1 error in 3599.20s (0:59:59) =", 11, 2, 2),
        ("no tests ran in 0.01s", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_the_closing_line_is_counted(closing: str, passed: int, failed: int, skipped: int) -> None:
    counts = counted(f"..F.\n{closing}\n")
    assert (counts["passed"], counts["failed"], counts["skipped"]) == (passed, failed, skipped)
