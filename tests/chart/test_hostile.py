"""Values that nobody should give: each makes valid objects, or is refused in a sentence.

Every leaf and every map of values.yaml, and of what its lists may hold, is given every hostile value. One render says
which of them the schema refuses, since Helm reports all of these at once; only what it lets through is rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chart.default_values import LEAVES, PLACES, Place, placed
from chart.helm import RenderError, merged, render
from chart.list_items import ITEM_LEAVES, ITEM_MAPS, items_with
from chart.validity import REFUSED_BY_SCHEMA, invalid, refused_by_schemas, traces
from lab.generate import EVERYTHING

HUGE = 99999999999999999999
HOSTILE: dict[str, Any] = {
    "null": None,
    "empty text": "",
    "empty list": [],
    "empty map": {},
    "list of text": ["x"],
    "list of maps": [{"a": 1}],
    "list of named maps": [{"name": "x", "a": 1}],
    "map of a number": {"a": 1},
    "map of maps": {"a": {"b": []}},
    "map with a bad key": {"no key!": "x"},
    "map of long text": {"a": "x" * 64},
    "long text": "x" * 10_000,
    "unicode": "ключ ☎ \u202e\n",
    "text that looks like a number": "1e3",
    "text that looks like a word of YAML": "null",
    "negative": -1,
    "huge": HUGE,
    "fraction": 0.5,
    "true": True,
}
MAPS = [place for place in PLACES if place not in LEAVES]


def _all_with(paths: list[Place], value: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for path in paths:
        values = merged(values, placed(path, value))
    return values


Fill = Callable[[list[Place], Any], dict[str, Any]]


def _render(values: dict[str, Any], folder: Path) -> str:
    written = folder / "values.yaml"
    # JSON is YAML, and says every number as it is.
    written.write_text(json.dumps(values))
    return render("--values", str(EVERYTHING), values=written)


def _let_through(paths: list[Place], value: Any, folder: Path, fill: Fill) -> list[Place]:
    """Those of the paths whose value the schema does not refuse.

    Helm's messages have the place of what is refused, which may lie in the value, and for a value that is missing
    its map and its name.
    """
    try:
        _render(fill(paths, value), folder)
    except RenderError as refused:
        message = str(refused)
    else:
        return paths
    if REFUSED_BY_SCHEMA not in message:
        return paths
    places = {tuple(place.strip("/").split("/")) for place in re.findall(r"at '([^']*)'", message)}
    for place, names in re.findall(r"at '([^']*)': missing propert(?:y|ies) (.*)", message):
        above = tuple(part for part in place.split("/") if part)
        places |= {(*above, name) for name in re.findall(r"'([^']+)'", names)}
    return [path for path in paths if not any(place[: len(path)] == path for place in places)]


def _try(paths: list[Place], value: Any, folder: Path, fill: Fill) -> tuple[dict[str, str], list[str]]:
    """What the values at the paths make, by case, and what is wrong with how they are refused.

    All are rendered together; those that the message names, or else each half, again by themselves.
    """
    case = ", ".join(".".join(path) for path in paths)
    try:
        return {case: _render(fill(paths, value), folder)}, []
    except RenderError as refused:
        message = str(refused)
    if len(paths) == 1:
        return {}, traces(message, case)
    named = [path for path in paths if ".".join(path) in message]
    rest = [path for path in paths if path not in named]
    half = len(rest) // 2
    parts = [*([path] for path in named), rest] if named else [rest[:half], rest[half:]]
    rendered: dict[str, str] = {}
    wrong: list[str] = []
    for part in filter(None, parts):
        more, worse = _try(part, value, folder, fill)
        rendered |= more
        wrong += worse
    return rendered, wrong


def _generations(paths: list[Place]) -> list[list[Place]]:
    """The paths by how many of them they lie in: none of one generation lies in another of it."""
    known = set(paths)
    ages = {path: sum(path[:length] in known for length in range(len(path))) for path in paths}
    return [[path for path in paths if ages[path] == age] for age in sorted(set(ages.values()))]


def _faults(generations: list[list[Place]], value: Any, folder: Path, fill: Fill) -> list[str]:
    """What is wrong with what the value makes at the places, or with how it is refused."""
    rendered: dict[str, str] = {}
    wrong: list[str] = []
    for paths in generations:
        if accepted := _let_through(paths, value, folder, fill):
            more, worse = _try(accepted, value, folder, fill)
            rendered |= more
            wrong += worse
    for case, manifests in rendered.items():
        wrong += [f"{case}: {place}" for place in invalid(manifests)]
    said = refused_by_schemas(rendered, folder / "rendered")
    return [*wrong, said] if said else wrong


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_value_makes_an_invalid_object_or_a_trace(hostile: str, tmp_path: Path) -> None:
    wrong = _faults([LEAVES, *_generations(MAPS)], HOSTILE[hostile], tmp_path, _all_with)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_in_a_list_makes_an_invalid_object_or_a_trace(hostile: str, tmp_path: Path) -> None:
    wrong = _faults([ITEM_LEAVES, *_generations(ITEM_MAPS)], HOSTILE[hostile], tmp_path, items_with)
    assert not wrong, "\n".join(wrong)


RELEASES = ["a" * 53, f"{'a' * 51}-b", f"voice-agent-{'b' * 41}", "123", "1e3", "true", "null", "with.dot", "x-9"]


@pytest.mark.parametrize("more", ["", "fullnameOverride=null", "nameOverride=y"])
def test_names_of_releases(more: str, tmp_path: Path) -> None:
    rendered: dict[str, str] = {}
    wrong: list[str] = []
    for name in RELEASES:
        try:
            rendered[name] = render("--set-string", more, values=EVERYTHING, release=name)
        except RenderError as refused:
            wrong += traces(str(refused), name)
    assert not wrong
    for name, manifests in rendered.items():
        assert not list(invalid(manifests)), name
    assert not refused_by_schemas(rendered, tmp_path / "rendered")
    good = {name for name in RELEASES if re.fullmatch(r"[a-z][-a-z0-9]*", name)}
    assert rendered.keys() == (set(RELEASES) if more.startswith("fullname") else good)
