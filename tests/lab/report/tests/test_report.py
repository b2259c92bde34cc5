"""What a reader of the report sees, and that nothing is missing from it."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from lab.callers.events import (
    AgentJoined,
    AgentLeft,
    Asked,
    Event,
    Finished,
    Heard,
    Joined,
    Lost,
    Sound,
)
from lab.callers.measure import measure
from lab.callers.results import CallReport
from lab.report import Disruption, print_report, write_report
from lab.signals import Kind

START = 1_800_000_000.0
SVG = "{http://www.w3.org/2000/svg}"


def call(number: int, lose: int | None = None, questions: int = 8) -> CallReport:
    """A call that moves from pod old-N to new-N after question 4, and may lose a turn."""
    old, new = f"voice-agent-worker-6c9f7d-{number}old", f"voice-agent-worker-58b7c4-{number}new"
    begin = START + number * 0.4
    events: list[Event] = [Joined(begin), AgentJoined(begin + 0.3, "a", old)]
    for question in range(1, questions + 1):
        asked = begin + question * 4.2
        if question == 5:
            events += [AgentJoined(asked - 2.5, "b", new), AgentLeft(asked - 2.2, "a")]
        events.append(Asked(asked, asked + 0.72, question, Kind.ASK))
        if question == lose:
            events.append(Lost(asked + 3.0, question))
            continue
        agent, at = ("a" if question < 5 else "b"), asked + 1.1 + 0.04 * question
        events += [
            Heard(at, at + 0.72, agent, Kind.ANSWER, number, question, question),
            Sound(at, at + 1.2, agent, f"track-{agent}"),
        ]
    return measure(number, [*events, Finished(begin + questions * 4.2 + 4, "told to stop")])


# The picture begins with the first call, which joins 0.4 s after START.
UPGRADE = Disruption("helm upgrade <all>", START + 16.4, START + 24)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_report(tmp_path / "out", [call(1), call(2, lose=6)], [UPGRADE], "Six calls & an upgrade")
    return tmp_path / "out"


def titles(svg: ET.Element) -> list[str]:
    return [element.text or "" for element in svg.iter(f"{SVG}title")]


def test_the_picture_shows_every_utterance_answer_and_disruption(folder: Path) -> None:
    svg = ET.fromstring((folder / "timeline.svg").read_text())  # noqa: S314 - our own file
    tips = titles(svg)

    assert sum("answered by" in tip for tip in tips) == 15
    assert sum(" speaks at " in tip for tip in tips) == 15
    assert sum("in the room" in tip for tip in tips) == 4
    assert any("question 6" in tip and "no answer" in tip for tip in tips)
    assert any(tip.startswith("helm upgrade <all>: 16.0 s") for tip in tips)
    words = [element.text for element in svg.iter(f"{SVG}text")]
    assert "helm upgrade <all>" in words
    assert {"call 1", "call 2", "ok", "not ok"} <= set(words)


def test_pods_are_told_apart_by_what_differs(folder: Path) -> None:
    svg = ET.fromstring((folder / "timeline.svg").read_text())  # noqa: S314 - our own file
    words = {element.text for element in svg.iter(f"{SVG}text")}

    assert {"6c9f7d-1old", "58b7c4-2new"} <= words


def test_each_pod_has_a_colour_of_its_own(folder: Path) -> None:
    svg = ET.fromstring((folder / "timeline.svg").read_text())  # noqa: S314 - our own file
    colours: dict[str, set[str]] = {}
    for rect in svg.iter(f"{SVG}rect"):
        tip = rect.find(f"{SVG}title")
        if tip is not None and tip.text and " speaks at " in tip.text:
            colours.setdefault(tip.text.split(" speaks")[0], set()).add(rect.attrib["fill"])

    assert len(colours) == 4
    assert all(len(used) == 1 for used in colours.values())
    assert len({colour for used in colours.values() for colour in used}) == 4


def test_more_pods_than_the_palette_holds_are_still_told_apart(tmp_path: Path) -> None:
    write_report(tmp_path, [call(number) for number in range(1, 13)], [], "twelve calls")
    svg = ET.fromstring((tmp_path / "timeline.svg").read_text())  # noqa: S314 - our own file
    stays = [rect for rect in svg.iter(f"{SVG}rect") if "opacity" in rect.attrib]

    assert len({rect.attrib["fill"] for rect in stays}) == len(stays) == 24


def test_bars_stay_inside_the_picture(folder: Path) -> None:
    svg = ET.fromstring((folder / "timeline.svg").read_text())  # noqa: S314 - our own file
    width, height = float(svg.attrib["width"]), float(svg.attrib["height"])
    for rect in svg.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert w > 0
        assert h > 0
        assert x + w <= width + 0.2
        assert y + h <= height + 0.2


def test_the_page_is_one_file_that_loads_nothing(folder: Path) -> None:
    text = (folder / "report.html").read_text()

    class Links(HTMLParser):
        found: list[str]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "xlink:href")]

    parser = Links()
    parser.found = []
    parser.feed(text)
    assert parser.found == []
    assert "@import" not in text
    assert "url(" not in text
    assert "Six calls &amp; an upgrade" in text
    assert "15 of 16" in text
    assert "not OK" in text


def test_the_json_says_what_the_page_says(folder: Path) -> None:
    values = json.loads((folder / "report.json").read_text())

    assert values["summary"]["lost_turns"] == 1
    assert values["summary"]["ok"] is False
    assert [one["ok"] for one in values["calls"]] == [True, False]
    assert values["calls"][1]["findings"] == ["1 lost (question 6)"]
    assert values["disruptions"][0]["label"] == "helm upgrade <all>"


def test_the_terminal_has_a_line_per_call_and_a_verdict() -> None:
    console = Console(width=200, record=True, file=None, quiet=False)
    with console.capture() as captured:
        print_report([call(1), call(2, lose=6)], console)
    text = captured.get()

    assert "8/8" in text
    assert "7/8" in text
    assert "1 lost" in text
    assert "NOT OK: 2 calls, 0 lost; 15 of 16 turns" in text


def test_every_form_says_that_a_caller_was_starved_and_none_says_so_without_cause(tmp_path: Path) -> None:
    for stall, told in ((0.0, False), (0.9, True)):
        reports = [dataclasses.replace(call(1), longest_stall_s=stall)]
        console = Console(width=200, record=True, file=None, quiet=False)
        with console.capture() as captured:
            print_report(reports, console)
        page = write_report(tmp_path, reports, [], "starved").read_text()

        assert ("no processor" in captured.get()) is told
        assert ("no processor" in page) is told
        assert json.loads((tmp_path / "report.json").read_text())["summary"]["longest_stall_s"] == stall


def test_one_call_with_two_agents_at_once_is_marked_among_many_good_ones(tmp_path: Path) -> None:
    good = [call(number) for number in range(1, 7)]
    bad = dataclasses.replace(call(7), overlap_ms=200.0)

    assert '<div class="card bad"><b>200 ms</b>' in write_report(tmp_path, [*good, bad], [], "overlap").read_text()
    assert '<div class="card"><b>0 ms</b>' in write_report(tmp_path, good, [], "no overlap").read_text()


def test_a_run_without_calls_still_makes_a_report(tmp_path: Path) -> None:
    write_report(tmp_path, [measure(1, [])], [], "nothing")
    write_report(tmp_path, [], [], "nothing")

    assert json.loads((tmp_path / "report.json").read_text())["summary"]["ok"] is False
