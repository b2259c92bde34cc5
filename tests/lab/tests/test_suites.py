from __future__ import annotations

import os
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from lab import suites
from lab.paths import ROOT
from lab.suites import COMPUTING, FEW_CALLS, MANY_CALLS, NO_CALLS, _Beside, counted, two_at_a_time


def test_every_folder_of_tests_is_run() -> None:
    paths = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["testpaths"]
    assert set(paths) <= {word for suite in (COMPUTING, FEW_CALLS, NO_CALLS, MANY_CALLS) for word in suite}


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


_FULL_AT_TIMES = """
import pathlib, pytest

class StarvedError(Exception): ...

tries = {name: pathlib.Path(__file__).with_name(name) for name in ("starved", "other")}

def first(name, times):
    with tries[name].open("a+") as file:
        file.write(".")
        return file.tell() <= times

@pytest.mark.flaky(reruns=1, only_rerun=["StarvedError"])
def test_starved():
    if first("starved", STARVED):
        raise StarvedError

def test_other():
    assert not first("other", FAILS)
"""


@pytest.mark.parametrize(
    ("starved", "fails", "passed", "failed"), [(1, 0, 2, 0), (1, 1, 2, 0), (1, 2, 1, 1), (0, 1, 1, 1)]
)
def test_what_failed_on_a_full_machine_is_tried_once_more_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, starved: int, fails: int, passed: int, failed: int
) -> None:
    suite = _FULL_AT_TIMES.replace("STARVED", str(starved)).replace("FAILS", str(fails))
    (tmp_path / "test_it.py").write_text(suite)
    monkeypatch.setattr(suites, "_LOG", tmp_path / "log")
    results = two_at_a_time("-q", [str(tmp_path)])
    counts = sum((counted(text) for _, text in results), Counter[str]())
    assert (counts["passed"], counts["failed"]) == (passed, failed)
    assert any(code for code, _ in results) == bool(failed)
    assert len((tmp_path / "other").read_text()) == (2 if starved and fails else 1)


def test_what_runs_beside_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid, script = (
        tmp_path / "pid",
        "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))",
    )
    with (tmp_path / "log").open("w") as log:
        beside = _Beside([[sys.executable, "-c", f"{script}; time.sleep(600)", str(pid)]], ["true"], log)
        deadline = time.monotonic() + 60
        while not (pid.exists() and pid.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        beside.end()
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_one_that_fails_beside_keeps_none_from_the_next_and_the_last_ones_code_counts(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as log:
        beside = _Beside([["false"]], [sys.executable, "-c", "print('said'); raise SystemExit(3)"], log)
        assert beside.wait() == 3
        beside.end()
        log.seek(0)
        assert log.read() == "said\n"


def test_what_is_built_beside_can_be_waited_for(tmp_path: Path) -> None:
    may_end = tmp_path / "may-end"
    os.mkfifo(may_end)
    with (tmp_path / "log").open("w+") as log:
        beside = _Beside([["false"], ["cat", str(may_end)]], ["sleep", "600"], log)
        try:
            assert not beside.is_built(wait=False)
            may_end.write_text("built\n")
            assert beside.is_built(wait=True)
            assert log.seek(0) == 0
            assert log.read() == "built\n"
        finally:
            beside.end()
