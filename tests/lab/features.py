"""The features of the chart, side by side with those of other charts: one file, two tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from lab.paths import ROOT

FEATURES = ROOT / "docs" / "features.yaml"


@dataclass(frozen=True)
class Feature:
    """A thing that an operator may expect of a chart."""

    feature: str
    # Keys of values.yaml; empty for what needs no value.
    values: tuple[str, ...] = ()
    # Models that have it.
    has: tuple[str, ...] = ()
    # Models that have some of it, and which.
    partly: dict[str, str] = field(default_factory=dict)
    # What this chart lacks of it.
    here: str = ""

    def cell(self, model: str) -> str:
        """What to say of ``model`` in a table."""
        return "yes" if model in self.has else "partly" if model in self.partly else "no"

    @property
    def only_here(self) -> bool:
        """Whether no model has any of it."""
        return not self.has and not self.partly


@dataclass(frozen=True)
class Catalogue:
    """All features in groups, and the models that they were compared with."""

    models: dict[str, dict[str, Any]]
    groups: dict[str, list[Feature]]

    @property
    def features(self) -> list[Feature]:
        """Every feature, in order."""
        return [each for group in self.groups.values() for each in group]


def catalogue() -> Catalogue:
    """What the file says."""
    data = yaml.safe_load(FEATURES.read_text())
    groups = {group["title"]: [Feature(**each) for each in group["features"]] for group in data["groups"]}
    return Catalogue(data["models"], groups)


def chart_table() -> str:
    """Which values do what, for the chart's README."""
    lines = ["| feature | values |", "|---|---|"]
    for title, features in catalogue().groups.items():
        lines.append(f"| **{title}** | |")
        for each in features:
            values = ", ".join(f"`{value}`" for value in each.values)
            lines.append(f"| {each.feature} | {values or each.here or 'always'} |")
    return "\n".join(lines) + "\n"


def comparison() -> str:
    """Who has what, and what exactly where it is only some of it."""
    known = catalogue()
    models = list(known.models)
    lines = ["| chart | where | version | commit | of |", "|---|---|---|---|---|"]
    for name, at in known.models.items():
        lines.append(f"| {name} | `{at['chart']}` | {at['version']} | `{at['commit'][:12]}` | {at['date']} |")
    for title, features in known.groups.items():
        lines += ["", f"## {title}", f"| | here | {' | '.join(models)} |", "|---" * (len(models) + 2) + "|"]
        for each in features:
            # Links in the file are as seen from the chart's README.
            name = each.feature.replace("](../../", "](../")
            name = f"**{name}**" if each.only_here else name
            here = "partly" if each.here else "yes"
            lines.append(f"| {name} | {here} | {' | '.join(each.cell(model) for model in models)} |")
        if notes := [f"- {each.feature.partition(' ([')[0]} ({_partly(each)})" for each in features if _partly(each)]:
            lines += ["", "Partly:", "", *notes]
    return "\n".join(lines) + "\n"


def _partly(feature: Feature) -> str:
    """What there is of it, once for all models of which the same is to be said."""
    said: dict[str, list[str]] = {feature.here: ["here"]} if feature.here else {}
    for model, what in feature.partly.items():
        said.setdefault(what, []).append(model)
    return "; ".join(f"{', '.join(models)}: {what}" for what, models in said.items())
