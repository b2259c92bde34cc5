"""The report as one HTML file that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

from lab.callers.results import OVERLAP_TOLERANCE_MS, CallReport, Latency, Summary
from lab.report.disruption import Disruption
from lab.report.terminal import notes_on
from lab.report.timeline import timeline

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>$title</title>
<style>
:root {
  --ink: #1f2933; --soft: #66727f; --page: #f5f7f9; --card: #fff; --line: #e1e6eb; --good: #1a7f37; --bad: #c62828;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e4e8ec; --soft: #98a4b0; --page: #0f1216; --card: #15191e; --line: #2b333b; --good: #5fd07a; --bad: #ff7b72;
  }
}
body { margin: 0; padding: 28px; background: var(--page); color: var(--ink); }
body { font: 15px/1.45 system-ui, "Segoe UI", sans-serif; }
main { max-width: 1200px; margin: auto; }
h1 { font-size: 22px; margin: 0 0 18px; display: flex; gap: 12px; align-items: center; }
.badge { font-size: 13px; padding: 3px 11px; border-radius: 99px; color: #fff; background: #1a7f37; }
.badge.bad { background: #c62828; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-bottom: 18px; }
.card, .box { background: var(--card); border: 1px solid var(--line); border-radius: 8px; }
.card { padding: 11px 14px; }
.card b { display: block; font-size: 20px; }
.card span { color: var(--soft); font-size: 13px; }
.bad b, td.bad { color: var(--bad); }
td.good { color: var(--good); }
.box { overflow-x: auto; margin-bottom: 18px; }
.box svg { display: block; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 7px 12px; border-top: 1px solid var(--line); }
th { border-top: 0; color: var(--soft); font-weight: 500; font-size: 13px; }
.n { text-align: right; font-variant-numeric: tabular-nums; }
.note { border-left: 3px solid #f9a825; padding-left: 10px; max-width: 90ch; }
footer { color: var(--soft); font-size: 13px; max-width: 90ch; }
</style></head><body><main>
<h1>$title <span class="badge $badge">$verdict</span></h1>
<div class="cards">$cards</div>
<div class="box">$picture</div>
<div class="box"><table><thead><tr><th class="n">call<th class="n">answered<th class="n">p50<th class="n">p95
<th class="n">max<th class="n">longest silence<th class="n">overlap<th>pods<th>memory<th>verdict</tr></thead><tbody>
$rows
</tbody></table></div>
$notes<footer>Latency: end of the question to first audio of its answer. Silence: nobody speaks while an answer is owed.
Overlap: more than one agent audible at once; up to $tolerance ms is within what can be measured. Memory: every answer
counts the questions asked so far. Point at a bar to read what it is.</footer>
</main></body></html>
""")


def page(reports: Sequence[CallReport], disruptions: Sequence[Disruption], title: str) -> str:
    """The page's text."""
    summary = Summary.of(reports)
    return _PAGE.substitute(
        title=escape(title),
        badge="" if summary.ok else "bad",
        verdict="OK" if summary.ok else "not OK",
        cards="".join(_cards(summary)),
        picture=timeline(reports, disruptions, title),
        rows="\n".join(_row(report) for report in reports),
        notes="".join(f'<p class="note">{escape(note)}</p>\n' for note in notes_on(summary)),
        tolerance=f"{OVERLAP_TOLERANCE_MS:.0f}",
    )


def _cards(summary: Summary) -> list[str]:
    latency = summary.latency
    return [
        _card(f"{summary.calls - summary.lost_calls} of {summary.calls}", "calls survived", summary.lost_calls > 0),
        _card(f"{summary.answered} of {summary.asked}", "turns answered", summary.lost_turns > 0),
        _card(str(summary.answered_twice), "answered twice", summary.answered_twice > 0),
        _card(f"{latency.p50:.2f} / {latency.p95:.2f} s" if latency else "-", "reply latency p50 / p95", not latency),
        _card(f"{summary.longest_silence_s:.2f} s", "longest silence", False),
        _card(f"{summary.overlap_ms:.0f} ms", "agents overlapped", summary.overlapped > 0),
        _card("kept" if not summary.memory_lost else f"{summary.memory_lost} lost", "memory", summary.memory_lost > 0),
    ]


def _card(value: str, label: str, bad: bool) -> str:
    return f'<div class="card{" bad" if bad else ""}"><b>{escape(value)}</b><span>{escape(label)}</span></div>'


def _row(report: CallReport) -> str:
    latency = Latency.of(report.latencies_s)
    numbers = [
        str(report.call),
        f"{report.answered}/{report.asked}",
        *([f"{value:.2f} s" for value in (latency.p50, latency.p95, latency.max)] if latency else ["-"] * 3),
        f"{report.longest_silence_s:.2f} s",
        f"{report.overlap_ms:.0f} ms",
    ]
    cells = "".join(f'<td class="n">{escape(number)}</td>' for number in numbers)
    return (
        f"<tr>{cells}<td>{escape(' → '.join(report.pods) or '-')}</td>"
        f"<td>{'kept' if report.memory_kept else 'lost'}</td>"
        f'<td class="{"good" if report.ok else "bad"}">{escape(report.verdict)}</td></tr>'
    )
