"""The chart's own values, and the places in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from lab.paths import CHART

Place = tuple[str, ...]


def _places(values: dict[str, Any], before: Place = ()) -> Iterator[Place]:
    """The place of every leaf and of every map."""
    for key, value in values.items():
        yield (*before, key)
        if isinstance(value, dict):
            yield from _places(value, (*before, key))


def leaves(places: list[Place]) -> list[Place]:
    """Those of the places in which no other lies."""
    return [
        place
        for place in places
        if not any(len(other) > len(place) and other[: len(place)] == place for other in places)
    ]


VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
PLACES = list(_places(VALUES))
LEAVES = leaves(PLACES)


def placed(place: Place, value: Any) -> dict[str, Any]:
    """Values that have one, at its place, and no other."""
    values: Any = value
    for key in reversed(place):
        values = {key: values}
    return dict(values)
