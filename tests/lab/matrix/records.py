"""Finished trials, kept in a file: a run that is interrupted goes on where it was, and figures add up over runs."""

from __future__ import annotations

import os
import platform
import subprocess
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from lab.matrix.outcome import Outcome
from lab.matrix.rows import MATRIX
from lab.matrix.table import table, verdicts
from lab.matrix.trial import Trial
from lab.paths import ROOT

OURS = "this chart"
BLUEPRINT = "the published blueprint"
# Trials in which a promise was broken while the machine stood still, or whose caller died: not counted, and told.
REPEATED = ", repeated because it could not be measured"


@dataclass(frozen=True)
class Record:
    """A finished trial, as a line of the file.

    Attributes:
        subject: what was disrupted.
        row: how, by its name in the matrix.
        machine: what it ran on.
        commit: of the code.
        outcome: what it came to.
    """

    subject: str
    row: str
    machine: str
    commit: str
    outcome: Outcome


_RECORD = TypeAdapter(Record)


def read(path: Path) -> list[Record]:
    """The records of earlier runs; none if there is no such file."""
    return [_RECORD.validate_json(line) for line in path.read_text().splitlines()] if path.exists() else []


def note(path: Path, subject: str, trial: Trial) -> None:
    """Append a trial that was just done, here and with this code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        record = Record(subject, trial.row.name, _machine(), _commit(path), trial.outcome)
        file.write(_RECORD.dump_json(record) + b"\n")


def of_commits(records: Sequence[Record], commits: Collection[str]) -> list[Record]:
    """What was recorded with some commits' code.

    Raises:
        ValueError: nothing was recorded with one of them.
    """
    known = {record.commit for record in records}
    if unknown := sorted(set(commits) - known):
        raise ValueError(f"nothing is recorded of {', '.join(unknown)}. Use some of {', '.join(sorted(known))}.")
    return [record for record in records if record.commit in commits]


def by_row(records: Iterable[Record], subject: str) -> dict[str, list[Outcome]]:
    """The outcomes of one subject, by their rows' names."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for record in records:
        if record.subject == subject:
            found[record.row].append(record.outcome)
    return found


def report(records: Sequence[Record]) -> str:
    """Where the trials were done, each subject's table, what came of the promises, and every finding: Markdown."""
    if not records:
        return "Nothing is recorded yet.\n"
    lines = [f"{_counted(record.machine for record in records)}; commits {_counted(r.commit for r in records)}."]
    for subject in (OURS, BLUEPRINT):
        rows = {row: Outcome.together(outcomes) for row, outcomes in by_row(records, subject).items()}
        if not rows:
            continue
        lines += ["", f"### {subject[0].upper()}{subject[1:]}", table(rows), ""]
        lines += [f"- {sentence}" for sentence in verdicts(rows, promised=subject == OURS)]
        if subject == OURS:
            lines += [f"- {MATRIX[row].title}: {told}" for row in rows for told in _told(rows[row].findings)]
    for record in records:
        if record.subject.endswith(REPEATED):
            lines.append(f"- {record.subject}, {MATRIX[record.row].title}: {'; '.join(record.outcome.findings)}")
    return "\n".join(lines) + "\n"


def headline(records: Sequence[Record]) -> str:
    """How many calls were dropped, in a sentence or two of Markdown."""
    rows, plain = by_row(records, OURS), by_row(records, BLUEPRINT)
    if not rows:
        return "Nothing is recorded yet.\n"
    ours, theirs = _all(rows), _all(plain)
    said = (
        f"**{ours.calls} calls in {ours.trials} disruptions of {len(rows)} kinds: {ours.lost_calls} dropped**, of "
        f"{ours.struck} that were struck."
    )
    if plain:
        said += (
            f" Of {theirs.calls} calls on the published blueprint, in {len(plain)} kinds: {theirs.lost_calls} dropped."
        )
    if repeated := sum(record.subject == f"{OURS}{REPEATED}" for record in records):
        said += f" Disruptions that were repeated because they could not be measured: {repeated}."
    return f"{said}\n"


def _all(rows: Mapping[str, Sequence[Outcome]]) -> Outcome:
    return Outcome.together(outcome for outcomes in rows.values() for outcome in outcomes)


def _told(findings: Iterable[str]) -> list[str]:
    """Each finding once, with how often there was one like it; which call it was tells nobody anything."""
    counts = Counter(finding.partition(": ")[2].partition(" (")[0] for finding in findings)
    return [f"{finding}, {count} times" if count > 1 else finding for finding, count in counts.items()]


def _counted(values: Iterable[str]) -> str:
    """Each value once, with how often it comes if there are several."""
    counts = Counter(values)
    return ", ".join(f"{value} ({count})" if len(counts) > 1 else value for value, count in counts.items())


def _machine() -> str:
    kernel = ".".join(platform.release().split(".")[:2])
    return f"{os.cpu_count()} cores, {platform.system()} {kernel}, Python {platform.python_version()}"


def _commit(records: Path) -> str:
    """The commit of the checkout, marked if there is more in it than new records."""
    commit = _git("describe", "--always", "--exclude=*")
    changed = {ROOT / name for name in _git("diff", "--name-only", "HEAD").splitlines()}
    return f"{commit}-dirty" if changed - {records.absolute()} else commit


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
