"""Figures add up over runs, and say where they come from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lab.matrix import MATRIX, Outcome, Trial, records
from lab.matrix.records import BLUEPRINT, OURS, REPEATED


def trial(row: str, **figures: object) -> Trial:
    return Trial(MATRIX[row], Outcome(trials=1, calls=4, **figures), ())  # type: ignore[arg-type]


def test_trials_of_several_runs_are_one_table(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "records.jsonl"
    for _ in range(2):
        records.note(file, OURS, trial("kill", struck=3, asked=20, lost_turns=1, again_s=(1.0, 2.0)))
    records.note(file, BLUEPRINT, trial("kill", struck=2, lost_calls=2, findings=("call 1: call lost (no answer)",)))
    found = records.read(file)
    assert [outcome.struck for outcome in records.by_row(found, OURS)["kill"]] == [3, 3]
    text = records.report(found)
    assert "| SIGKILL of the worker | 2 | 8 | 6 | 0 | 2 of 40 |" in text
    assert "After a death, answered again: 1.50 / 2.00 / 2.00 s" in text
    assert "2 were struck" in text
    assert "cores, Linux" in text


def test_a_row_that_is_late_by_itself_is_told(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    records.note(file, OURS, trial("upgrade", struck=4, added_delay_s=(0.1,) * 40))
    records.note(file, OURS, trial("second-upgrade", struck=4, added_delay_s=(0.7,)))
    text = records.report(records.read(file))
    assert "promised p95 below 0.50 s. Rows that are above by themselves: second upgrade in mid-drain (0.70).\n" in text


def test_what_was_found_is_told_once_and_what_was_repeated_too(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    for call in (1, 3):
        finding = f"call {call}: 1 lost (question {call + 4})"
        records.note(file, OURS, trial("kill", struck=3, findings=(finding,)))
    records.note(file, f"{OURS}{REPEATED}", trial("delete", findings=("call 2: memory lost",)))
    text = records.report(records.read(file))
    assert "- SIGKILL of the worker: 1 lost, 2 times" in text
    assert "- this chart, repeated because it could not be measured, kubectl delete pod: call 2: memory lost" in text


def test_the_headline_counts_dropped_calls(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    for row in ("kill", "kill", "delete"):
        records.note(file, OURS, trial(row, struck=2))
    assert records.headline(records.read(file)) == (
        "**12 calls in 3 disruptions of 2 kinds: 0 dropped**, of 6 that were struck.\n"
    )
    records.note(file, OURS, trial("delete", struck=1, lost_calls=1))
    records.note(file, BLUEPRINT, trial("kill", struck=3, lost_calls=3))
    records.note(file, f"{OURS}{REPEATED}", trial("delete"))
    assert records.headline(records.read(file)) == (
        "**16 calls in 4 disruptions of 2 kinds: 1 dropped**, of 7 that were struck. "
        "Of 4 calls on the published blueprint, in 1 kinds: 3 dropped. "
        "Disruptions that were repeated because they could not be measured: 1.\n"
    )


def test_figures_of_one_commit_can_be_asked_for() -> None:
    def done(commit: str) -> records.Record:
        return records.Record(OURS, "kill", "2 cores", commit, trial("kill", struck=2).outcome)

    recorded = [done("aaaaaaa"), done("bbbbbbb"), done("bbbbbbb")]
    assert records.of_commits(recorded, ["bbbbbbb"]) == recorded[1:]
    with pytest.raises(ValueError, match=r"of ccccccc. Use some of aaaaaaa, bbbbbbb"):
        records.of_commits(recorded, ["aaaaaaa", "ccccccc"])


def test_nothing_is_told_before_the_first_run(tmp_path: Path) -> None:
    none = records.read(tmp_path / "none.jsonl")
    assert records.report(none) == records.headline(none) == "Nothing is recorded yet.\n"


def test_records_in_the_checkout_do_not_make_it_another_than_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "ROOT", tmp_path)
    file, code = tmp_path / "records.jsonl", tmp_path / "code.py"
    file.touch()
    code.touch()
    author = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    for words in (("init", "--quiet"), ("add", "."), (*author, "commit", "--quiet", "--message=test")):
        subprocess.run(("git", *words), cwd=tmp_path, check=True)
    records.note(file, OURS, trial("kill"))
    records.note(file, OURS, trial("kill"))
    code.write_text("changed")
    records.note(file, OURS, trial("kill"))
    assert [record.commit.endswith("-dirty") for record in records.read(file)] == [False, False, True]
