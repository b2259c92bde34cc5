"""The run as a picture: who spoke when, and on which pod, as an SVG that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from colorsys import hls_to_rgb
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from lab.callers.results import CallReport, Summary, Turn
from lab.report.disruption import Disruption
from lab.report.names import pods_of, short_names

# Okabe and Ito's colours, which colour-blind readers tell apart, without the red-orange that lost turns use.
POD_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#8c6bb1",
    "#a6761d",
    "#66a61e",
    "#264f9e",
    "#3cb5a8",
)

_STYLE = """
text { font: 12px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2933; }
.soft { fill: #66727f; font-size: 11px; }
.title { font-size: 17px; font-weight: 600; }
.call { font-weight: 600; }
.good { fill: #1a7f37; font-weight: 600; } .bad { fill: #c62828; font-weight: 600; }
.page { fill: #ffffff; } .stripe { fill: #f5f7f9; } .grid { stroke: #e1e6eb; stroke-width: 1; }
.caller { fill: #9aa5b1; } .lost { fill: #d32f2f; }
.band { fill: #f9a825; fill-opacity: .16; } .edge { stroke: #c77700; stroke-width: 1; stroke-dasharray: 4 3; }
.tag { fill: #f9a825; fill-opacity: .28; } .mark { fill: #7a4a00; font-size: 11px; font-weight: 600; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e8ec; } .soft { fill: #98a4b0; } .good { fill: #5fd07a; } .bad { fill: #ff7b72; }
  .page { fill: #15191e; } .stripe { fill: #1b2127; } .grid { stroke: #2b333b; } .caller { fill: #6b7783; }
  .lost { fill: #ef5350; } .mark { fill: #ffcf70; } .edge { stroke: #d99a2b; }
}
"""

_GUTTER = 132
_MARGIN = 20
_PLOT_WIDTH = 1010
_MAX_PLOT_WIDTH = 4000
# Below this many pixels a second, bars of answers would melt into one another.
_PIXELS_PER_SECOND = 7
_ROW = 46
_TAG_ROW = 21
_LETTER = 6.6


@dataclass(frozen=True)
class _Scale:
    start: float
    seconds: float
    width: float

    def x(self, time: float) -> float:
        """Where on the picture a moment lies."""
        inside = min(max(time - self.start, 0.0), self.seconds)
        return _GUTTER + inside / self.seconds * self.width

    def clock(self, time: float) -> str:
        """A moment as seconds since the beginning."""
        return f"{time - self.start:.1f} s"


def timeline(reports: Sequence[CallReport], disruptions: Sequence[Disruption], title: str) -> str:
    """The picture as SVG; one row per call, agents above, caller below, disruptions as bands across all rows."""
    start = min([r.started for r in reports if r.started] + [d.start for d in disruptions], default=0.0)
    end = max([r.ended for r in reports] + [d.end for d in disruptions], default=start)
    seconds = max(end - start, 1.0)
    width = min(max(_PLOT_WIDTH, seconds * _PIXELS_PER_SECOND), _MAX_PLOT_WIDTH)
    scale = _Scale(start, seconds, width)
    pods = pods_of(reports)
    colours = {pod: _colour(index) for index, pod in enumerate(pods)}
    tags = _tag_rows(disruptions, scale)
    legend = _legend_places(short_names(pods), width)
    legend_top = _MARGIN + 32
    tags_top = legend_top + (1 + max(row for *_, row in legend)) * 20 + 8
    top = tags_top + (1 + max(tags, default=-1)) * _TAG_ROW + 6
    bottom = top + len(reports) * _ROW
    height = bottom + 40
    total = _GUTTER + width + _MARGIN
    svg = ET.Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {total:.0f} {height:.0f}")
    svg.set("width", f"{total:.0f}")
    svg.set("height", f"{height:.0f}")
    svg.set("role", "img")
    ET.SubElement(svg, "title").text = title
    ET.SubElement(svg, "style").text = _STYLE
    _rect(svg, 0, 0, total, height, "page")
    _text(svg, _MARGIN, _MARGIN + 12, title, "title")
    summary = Summary.of(reports)
    _text(svg, total - _MARGIN, _MARGIN + 12, _sentence(summary), "good" if summary.ok else "bad", "end")
    _draw_legend(svg, legend, colours, legend_top)
    _draw_grid(svg, scale, top, bottom, len(reports))
    for disruption, row in zip(disruptions, tags, strict=True):
        _draw_disruption(svg, scale, disruption, tags_top + row * _TAG_ROW, top, bottom)
    for index, report in enumerate(reports):
        _draw_call(svg, scale, report, colours, top + index * _ROW)
    return ET.tostring(svg, encoding="unicode")


def _colour(index: int) -> str:
    """The colour of the pod that appeared as number ``index``; no two pods share one."""
    if index < len(POD_COLOURS):
        return POD_COLOURS[index]
    # Steps by the golden angle never meet; from 40 to 330 degrees, so that none is the red of a lost turn.
    hue, lightness, saturation = 40 + (index * 0.618034 % 1) * 290, 0.5, 0.45
    return "#" + "".join(f"{round(part * 255):02x}" for part in hls_to_rgb(hue / 360, lightness, saturation))


def _sentence(summary: Summary) -> str:
    words = f"{summary.answered} of {summary.asked} turns answered, {summary.lost_calls} of {summary.calls} calls lost"
    return f"{words}, p95 {summary.latency.p95:.2f} s" if summary.latency else words


def _rect(
    parent: ET.Element, x: float, y: float, width: float, height: float, css: str = "", **more: str
) -> ET.Element:
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "width": f"{width:.1f}", "height": f"{height:.1f}", **more}
    if css:
        attributes["class"] = css
    return ET.SubElement(parent, "rect", attributes)


def _text(parent: ET.Element, x: float, y: float, words: str, css: str = "", anchor: str = "start") -> None:
    element = ET.SubElement(parent, "text", {"x": f"{x:.1f}", "y": f"{y:.1f}", "class": css, "text-anchor": anchor})
    element.text = words


def _line(parent: ET.Element, x: float, top: float, bottom: float, css: str) -> None:
    ET.SubElement(
        parent, "line", {"x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": f"{top:.1f}", "y2": f"{bottom:.1f}", "class": css}
    )


def _tooltip(element: ET.Element, words: str) -> None:
    ET.SubElement(element, "title").text = words


def _tag_width(label: str) -> float:
    return len(label) * (_LETTER + 0.7) + 14


def _tag_rows(disruptions: Sequence[Disruption], scale: _Scale) -> list[int]:
    """For each disruption the lowest row in which its label touches no other's."""
    ends: list[float] = []
    rows = []
    for disruption in disruptions:
        left = _tag_left(disruption, scale)
        row = next((i for i, end in enumerate(ends) if end <= left), len(ends))
        ends[row : row + 1] = [left + _tag_width(disruption.label) + 4]
        rows.append(row)
    return rows


def _tag_left(disruption: Disruption, scale: _Scale) -> float:
    return min(scale.x(disruption.start), _GUTTER + scale.width - _tag_width(disruption.label))


def _legend_places(pods: dict[str, str], width: float) -> list[tuple[str, str, float, int]]:
    """Legend entries: css class or pod, label, x, row."""
    entries = [("caller", "caller speaks"), ("lost", "no answer"), *pods.items()]
    x, row = float(_MARGIN), 0
    places = []
    for key, label in entries:
        needed = len(label) * _LETTER + 36
        if x + needed > _GUTTER + width and x > _MARGIN:
            x, row = float(_MARGIN), row + 1
        places.append((key, label, x, row))
        x += needed
    return places


def _draw_legend(
    svg: ET.Element, places: Sequence[tuple[str, str, float, int]], colours: dict[str, str], top: float
) -> None:
    for key, label, x, row in places:
        y = top + row * 20
        if key in colours:
            _rect(svg, x, y, 14, 11, rx="2.5", fill=colours[key])
        else:
            _rect(svg, x, y, 14, 11, key, rx="2.5")
        _text(svg, x + 20, y + 10, label, "soft")


def _draw_grid(svg: ET.Element, scale: _Scale, top: float, bottom: float, rows: int) -> None:
    for index in range(0, rows, 2):
        _rect(svg, 0, top + index * _ROW, _GUTTER + scale.width + _MARGIN, _ROW, "stripe")
    rough = scale.seconds / (scale.width / 95)
    step = next((step for step in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600) if step >= rough), 1200)
    for tick in range(0, int(scale.seconds) + 1, step):
        x = scale.x(scale.start + tick)
        _line(svg, x, top, bottom, "grid")
        label = f"{tick // 60}:{tick % 60:02d}" if scale.seconds >= 120 else f"{tick} s"
        _text(svg, x, bottom + 18, label, "soft", "middle")


def _draw_disruption(
    svg: ET.Element, scale: _Scale, disruption: Disruption, tag_top: float, top: float, bottom: float
) -> None:
    left, right = scale.x(disruption.start), scale.x(disruption.end)
    group = ET.SubElement(svg, "g")
    _tooltip(group, f"{disruption.label}: {scale.clock(disruption.start)} to {scale.clock(disruption.end)}")
    _rect(group, left, tag_top + 17, max(right - left, 2.0), bottom - tag_top - 17, "band")
    for x in (left, right):
        _line(group, x, tag_top + 17, bottom, "edge")
    tag = _tag_left(disruption, scale)
    _rect(group, tag, tag_top, _tag_width(disruption.label), 17, "tag", rx="3")
    _text(group, tag + 7, tag_top + 12.5, disruption.label, "mark")


def _draw_call(svg: ET.Element, scale: _Scale, report: CallReport, colours: dict[str, str], top: float) -> None:
    _text(svg, _MARGIN, top + 19, f"call {report.call}", "call")
    if report.ok:
        _text(svg, _GUTTER - 14, top + 19, "ok", "good", "end")
    else:
        _text(svg, _GUTTER - 14, top + 19, "lost" if report.lost else "not ok", "bad", "end")
    _text(svg, _MARGIN, top + 35, f"{report.answered} of {report.asked} answered", "soft")
    for stay in report.agents:
        left, right = scale.x(stay.joined), scale.x(stay.left if stay.left is not None else report.ended)
        fill = colours[stay.pod]
        presence = _rect(svg, left, top + 22.5, max(right - left, 1.0), 2, fill=fill, opacity="0.55")
        _tooltip(presence, f"{stay.pod} in the room from {scale.clock(stay.joined)}")
    for sound in report.sounds:
        left, right = scale.x(sound.start), scale.x(sound.end)
        bar = _rect(svg, left, top + 6, max(right - left, 1.5), 15, rx="2", fill=colours[sound.pod])
        _tooltip(bar, f"{sound.pod} speaks at {scale.clock(sound.start)} for {sound.end - sound.start:.1f} s")
    for index, turn in enumerate(report.turns):
        following = report.turns[index + 1].asked if index + 1 < len(report.turns) else report.ended
        _draw_turn(svg, scale, turn, following, top)


def _draw_turn(svg: ET.Element, scale: _Scale, turn: Turn, following: float, top: float) -> None:
    left, right = scale.x(turn.asked), scale.x(turn.asked_end)
    css = "lost" if turn.lost else "caller"
    bar = _rect(svg, left, top + 27, max(right - left, 1.5), 10, css, rx="2")
    if turn.latency_s is None:
        words = f"question {turn.question} at {scale.clock(turn.asked)}: no answer"
        waiting = _rect(
            svg, right, top + 27, max(scale.x(following) - right, 1.5), 10, "lost", **{"fill-opacity": "0.3"}
        )
        _tooltip(waiting, words)
    else:
        words = (
            f"question {turn.question} ({turn.kind}) at {scale.clock(turn.asked)}: answered by {turn.pod} "
            f"after {turn.latency_s:.2f} s; {turn.remembered} turns remembered"
        )
    _tooltip(bar, words)
