"""Reports on a run of calls: on the terminal, as a page and picture for people, as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lab.callers.results import CallReport, Summary
from lab.report.disruption import Disruption
from lab.report.page import page
from lab.report.terminal import print_report
from lab.report.timeline import timeline

__all__ = ["Disruption", "print_report", "write_report"]


def write_report(folder: Path, reports: Sequence[CallReport], disruptions: Sequence[Disruption], title: str) -> Path:
    """Write ``report.html``, ``timeline.svg`` and ``report.json`` into the folder; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "timeline.svg").write_text(timeline(reports, disruptions, title), encoding="utf-8")
    values = {
        "title": title,
        "summary": asdict(Summary.of(reports)),
        "disruptions": [asdict(disruption) for disruption in disruptions],
        "calls": [
            {
                "ok": report.ok,
                "findings": report.findings,
                "asked": report.asked,
                "answered": report.answered,
                "lost_turns": report.lost_turns,
                "answered_twice": report.answered_twice,
                "memory_kept": report.memory_kept,
                "pods": report.pods,
                "agent_changes": report.agent_changes,
                **asdict(report),
            }
            for report in reports
        ],
    }
    (folder / "report.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    html = folder / "report.html"
    html.write_text(page(reports, disruptions, title), encoding="utf-8")
    return html
