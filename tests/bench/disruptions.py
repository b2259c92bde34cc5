"""The disruption matrix, repeated: `python tests/bench/disruptions.py`, or `make bench-disruptions`.

Brings the cluster up, holds live calls on it, and does every row of the matrix until enough calls were disrupted; then
the published blueprint under the rows that mean something to it. Prints the tables that docs/disruptions.md shows.
Every finished trial is appended to a file, so that a run that is interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from lab.baseline import blueprint
from lab.callers import CallPlan
from lab.matrix import MATRIX, Outcome, Row, Trial, run
from lab.matrix.table import table, verdicts
from lab.paths import BUILD
from lab.stage import Stage, prepare, step

OURS = "this chart"
BLUEPRINT = "the published blueprint"
# Trials in which a promise was broken and the machine stood still: not counted, and told.
REPEATED = ", repeated because the machine stood still"
RECORDS = BUILD / "disruptions.jsonl"
# Six fill two cores with callers and agents, and then the times are the machine's.
CALLS = 4
WANTED = 500
# A trial on a machine that stood still is repeated, this often at the most.
TRIES = 3
# No row silences a caller for as long as so many answers' timeouts.
PATIENCE = 8


@dataclass(frozen=True)
class Record:
    """A finished trial, as a line of the records."""

    subject: str
    row: str
    outcome: Outcome


_RECORD = TypeAdapter(Record)


def _read(records: Path) -> dict[tuple[str, str], list[Outcome]]:
    """Outcomes of earlier runs, by subject and row."""
    found: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for line in records.read_text().splitlines() if records.exists() else []:
        record = _RECORD.validate_json(line)
        found[record.subject, record.row].append(record.outcome)
    return found


async def _trial(stage: Stage, row: Row, calls: int, subject: str, records: Path) -> Trial:
    for attempt in range(1, TRIES + 1):
        await asyncio.to_thread(stage.install, *row.arguments)
        await asyncio.to_thread(stage.settle)
        endpoints = stage.endpoints
        plan = CallPlan(
            endpoints.livekit_url,
            endpoints.api_key,
            endpoints.api_secret,
            room=f"bench-{row.name}-{int(time.time())}",
            agent_name=stage.agent_name,
            give_up_after=PATIENCE,
        )
        trial = await run(stage, row, plan, calls)
        if not trial.broken or not trial.starved or attempt == TRIES:
            break
        print(f"  {subject}, {row.title}: the machine stood still, once more: {'; '.join(trial.broken)}", flush=True)
        _note(records, f"{subject}{REPEATED}", trial)
    return trial


def _note(records: Path, subject: str, trial: Trial) -> None:
    records.parent.mkdir(parents=True, exist_ok=True)
    with records.open("ab") as file:
        file.write(_RECORD.dump_json(Record(subject, trial.row.name, trial.outcome)) + b"\n")


def _rows(names: list[str]) -> list[Row]:
    unknown = sorted(set(names) - MATRIX.keys())
    if unknown:
        sys.exit(f"--rows {','.join(unknown)}: no such row. Use some of {', '.join(MATRIX)}.")
    return [MATRIX[name] for name in names] or list(MATRIX.values())


def _report(records: Path, subject: str) -> None:
    known = {row: Outcome.together(outcomes) for (whose, row), outcomes in _read(records).items() if whose == subject}
    if not known:
        return
    print(f"\n{subject}\n\n{table(known)}\n")
    for sentence in verdicts(known):
        print(f"- {sentence}")
    for row, outcome in known.items():
        for finding in outcome.findings:
            print(f"- {MATRIX[row].title}: {finding}")


def _report_repeated(records: Path) -> None:
    for (subject, row), outcomes in _read(records).items():
        if subject.endswith(REPEATED):
            told = "; ".join(finding for outcome in outcomes for finding in outcome.findings)
            print(f"- {subject}, {MATRIX[row].title}, {len(outcomes)} times: {told}")


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


async def _bench(options: argparse.Namespace, stages: dict[str, Stage]) -> None:
    chosen = _rows([name for name in options.rows.split(",") if name])
    began = time.monotonic()
    for subject, stage in stages.items():
        ours = subject == OURS
        rows = [row for row in chosen if ours or not row.keepers]
        rounds = options.rounds if ours else options.baseline_rounds
        while rounds > 0 and time.monotonic() - began < options.minutes * 60:
            done = _read(options.records)
            struck = sum(outcome.struck for (whose, _), all_ in done.items() if whose == subject for outcome in all_)
            if ours and struck >= options.wanted:
                break
            rounds -= 1
            fewest = min((len(done[subject, row.name]) for row in rows), default=0)
            for number, row in enumerate(rows, start=1):
                if len(done[subject, row.name]) > fewest:
                    continue
                if time.monotonic() - began > options.minutes * 60:
                    break
                with step(f"{subject}, {number} of {len(rows)}: {row.title} ({struck} calls struck so far)"):
                    trial = await _trial(stage, row, options.calls, subject, options.records)
                _note(options.records, subject, trial)
                struck += trial.outcome.struck
                print("  " + ("; ".join(trial.broken) or "as promised"), flush=True)


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="", help="some rows by name, separated by commas; by default all")
    parser.add_argument("--calls", type=int, default=CALLS, help="at once (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=1000, help="of every row, at the most")
    parser.add_argument("--baseline-rounds", type=int, default=1, help="of every row, for the blueprint (default 1)")
    parser.add_argument("--wanted", type=int, default=WANTED, help="struck calls to stop at (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=600.0, help="to stop after")
    parser.add_argument("--records", type=Path, default=RECORDS, help="where trials are kept (default %(default)s)")
    parser.add_argument(
        "--subjects", action="append", choices=(OURS, BLUEPRINT), help="one of the two; by default both"
    )
    parser.add_argument("--report", action="store_true", help="only print what the records hold")
    options = parser.parse_args()
    if not options.report:
        stage = prepare()
        stages = {OURS: stage, BLUEPRINT: blueprint(stage)}
        asyncio.run(_bench(options, {name: stages[name] for name in options.subjects or stages}))
    print(f"\n{_machine()}; {options.calls} calls at once")
    for subject in (OURS, BLUEPRINT):
        _report(options.records, subject)
    _report_repeated(options.records)


if __name__ == "__main__":
    main()
