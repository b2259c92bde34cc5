"""The report as a table on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from lab.callers.results import CallReport, Latency, Summary
from lab.report.names import pods_of, short_names


def print_report(reports: Sequence[CallReport], console: Console | None = None) -> None:
    """Print one line per call and the summary."""
    console = console or Console()
    console.print(_table(reports))
    console.print(summary_line(Summary.of(reports)), highlight=False)


def summary_line(summary: Summary) -> str:
    """The run in one sentence, with rich markup."""
    verdict = "[bold green]OK[/]" if summary.ok else "[bold red]NOT OK[/]"
    notes = "".join(f"\n[yellow]{note}[/]" for note in notes_on(summary))
    calls = "1 call" if summary.calls == 1 else f"{summary.calls} calls"
    memory = "memory kept" if not summary.memory_lost else f"{summary.memory_lost} with memory lost"
    return (
        f"{verdict}: {calls}, {summary.lost_calls} lost; {summary.answered} of {summary.asked} turns "
        f"answered, {summary.lost_turns} lost, {summary.answered_twice} answered twice; {memory}; "
        f"agents overlapped {summary.overlap_ms:.0f} ms; reply latency {_latency(summary.latency)} "
        f"(p50/p95/max); longest silence {summary.longest_silence_s:.2f} s{notes}"
    )


def notes_on(summary: Summary) -> list[str]:
    """What a reader must know to judge the figures; empty if there is nothing."""
    notes = []
    if summary.longest_stall_s:
        notes.append(
            f"The callers got no processor for up to {summary.longest_stall_s:.1f} s: some latencies and silences "
            "are longer than the agents made them. Measure again with less load on this machine."
        )
    if summary.reconnects:
        notes.append(f"Connections between callers and LiveKit that broke: {summary.reconnects}.")
    return notes


def _table(reports: Sequence[CallReport]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption="times in seconds")
    for heading in ("call", "turns", "p50", "p95", "max", "silence"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("memory", no_wrap=True)
    table.add_column("verdict")
    table.add_column("pods")
    short = short_names(pods_of(reports))
    for report in reports:
        latency = Latency.of(report.latencies_s)
        percentiles = [f"{value:.2f}" for value in (latency.p50, latency.p95, latency.max)] if latency else ["-"] * 3
        table.add_row(
            str(report.call),
            f"{report.answered}/{report.asked}",
            *percentiles,
            f"{report.longest_silence_s:.2f}",
            "kept" if report.memory_kept else "[red]lost[/]",
            f"[{'green' if report.ok else 'red'}]{report.verdict}[/]",
            " → ".join(short[pod] for pod in report.pods) or "-",
        )
    return table


def _latency(latency: Latency | None) -> str:
    return f"{latency.p50:.2f}/{latency.p95:.2f}/{latency.max:.2f} s" if latency else "-"
