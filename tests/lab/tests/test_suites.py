from __future__ import annotations

import tomllib

import pytest

from lab.paths import ROOT
from lab.suites import CLUSTER, COMPUTING, FLEET, SIDE_BY_SIDE, counted


def test_every_folder_of_tests_is_run() -> None:
    paths = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    suites = (COMPUTING, CLUSTER, SIDE_BY_SIDE, FLEET)
    words = {word for arguments in suites for word in arguments if "/" in word}
    assert {word for word in words if not word.startswith("@")} == set(paths)


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
