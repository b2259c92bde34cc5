"""The disruption matrix, repeated: `python tests/bench/disruptions.py`, or `make bench-disruptions`.

Brings the cluster up, holds live calls on it, and does every row of the matrix until enough calls were disrupted; then
the published blueprint under the rows that mean something to it. Every finished trial is appended to a file, so that a
run that is interrupted goes on where it was, and what the file holds is printed. docs/disruptions.md shows what
docs/disruptions.jsonl holds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from lab.baseline import blueprint
from lab.callers import CallPlan
from lab.matrix import MATRIX, Row, Trial, records, run
from lab.matrix.records import BLUEPRINT, OURS, REPEATED
from lab.paths import BUILD
from lab.stage import Stage, prepare, step

RECORDS = BUILD / "disruptions.jsonl"
# Six fill two cores with callers and agents, and then the times are the machine's.
CALLS = 4
WANTED = 500
# A trial that could not be measured is repeated, this often at the most.
TRIES = 3
# No row silences a caller for as long as so many answers' timeouts.
PATIENCE = 8


async def _trial(stage: Stage, row: Row, calls: int, subject: str, path: Path) -> Trial:
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
        # Of the blueprint nothing is promised: what it loses, it loses on any machine.
        if not trial.broken or not trial.starved or attempt == TRIES or subject == BLUEPRINT:
            break
        print(f"  {subject}, {row.title}: it could not be measured, once more: {'; '.join(trial.broken)}", flush=True)
        print(trial.story, flush=True)
        records.note(path, f"{subject}{REPEATED}", trial)
    return trial


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _rows(names: list[str]) -> list[Row]:
    unknown = sorted(set(names) - MATRIX.keys())
    if unknown:
        sys.exit(f"--rows {','.join(unknown)}: no such row. Use some of {', '.join(MATRIX)}.")
    return [MATRIX[name] for name in names] or list(MATRIX.values())


async def _bench(options: argparse.Namespace, stages: dict[str, Stage]) -> None:
    chosen = _rows(options.rows)
    began = time.monotonic()
    for subject, stage in stages.items():
        ours = subject == OURS
        rows = [row for row in chosen if ours or not row.keepers]
        rounds = options.rounds if ours else options.baseline_rounds
        while rounds > 0 and time.monotonic() - began < options.minutes * 60:
            done = records.by_row(records.read(options.records), subject)
            struck = sum(outcome.struck for outcomes in done.values() for outcome in outcomes)
            if ours and struck >= options.wanted:
                break
            rounds -= 1
            fewest = min((len(done[row.name]) for row in rows), default=0)
            for number, row in enumerate(rows, start=1):
                if len(done[row.name]) > fewest:
                    continue
                if time.monotonic() - began > options.minutes * 60:
                    break
                with step(f"{subject}, {number} of {len(rows)}: {row.title} ({struck} calls struck so far)"):
                    trial = await _trial(stage, row, options.calls, subject, options.records)
                records.note(options.records, subject, trial)
                struck += trial.outcome.struck
                print("  " + ("; ".join(trial.broken) or "as promised"), flush=True)
                if trial.late:
                    print(f"  late: {', '.join(f'{seconds:.2f} s' for seconds in trial.late)}", flush=True)
                if trial.late or trial.broken:
                    print(trial.story, flush=True)


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rows", type=_names, default=[], help="some rows by name, separated by commas; by default all"
    )
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
    parser.add_argument(
        "--commits", type=_names, default=[], help="with --report: only what was done with these, separated by commas"
    )
    options = parser.parse_args()
    if options.commits and not options.report:
        parser.error(f"--commits {','.join(options.commits)}: it chooses what is printed. Add --report.")
    if not options.report:
        stage = prepare()
        stages = {OURS: stage, BLUEPRINT: blueprint(stage)}
        asyncio.run(_bench(options, {name: stages[name] for name in options.subjects or stages}))
    recorded = records.read(options.records)
    if options.commits:
        try:
            recorded = records.of_commits(recorded, options.commits)
        except ValueError as error:
            sys.exit(f"--commits {','.join(options.commits)}: {error}")
    print(f"\n{records.report(recorded)}")


if __name__ == "__main__":
    main()
