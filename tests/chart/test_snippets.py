"""What the pages show can be copied: values render, commands give values that there are, tables are as the chart is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart.helm import MINIMAL, objects, render
from chart.snippets import PAGES, blocks, commands, exists, paths, values_blocks
from lab.features import Feature, catalogue
from lab.paths import ROOT

SHOWN = values_blocks()
UPGRADES = (ROOT / "docs" / "upgrades.md").read_text()
SCALING = ROOT / "docs" / "scaling.md"
FEATURES = catalogue()


def base(values: str) -> Path | None:
    """What is rendered below values that are only a part."""
    return None if "livekit" in (yaml.safe_load(values) or {}) else MINIMAL


@pytest.mark.parametrize("name", SHOWN)
def test_values_that_are_shown_render(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_text(SHOWN[name])
    assert objects(render("--values", str(file), values=base(SHOWN[name])))


@pytest.mark.parametrize(("page", "given"), list(commands()))
def test_commands_that_are_shown_give_values_that_there_are(page: str, given: list[str], tmp_path: Path) -> None:
    arguments, whole = [], "livekit.url" in " ".join(given)
    for word in given:
        if word in SHOWN:
            (tmp_path / word).write_text(SHOWN[word])
            whole = whole or base(SHOWN[word]) is None
            arguments.append(str(tmp_path / word))
        elif (ROOT / word).is_file():
            whole = True
            arguments.append(str(ROOT / word))
        else:
            # Names in capitals are the reader's.
            arguments.append(re.sub(r"\b[A-Z]+\b", lambda match: match[0].lower(), word))
    assert objects(render(*arguments, values=None if whole else MINIMAL)), page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_values_that_are_named_exist(page: Path) -> None:
    assert [path for path in sorted(paths(page)) if not exists(path)] == []


CHANGES = re.findall(r"^\| `([^`]+=[^`]+)` \| ([a-z, ]+) \|$", UPGRADES, re.MULTILINE)


def pods(*arguments: str) -> dict[str, Any]:
    rendered = objects(render(*arguments))
    return {
        f"{each['spec']['selector']['matchLabels']['app.kubernetes.io/component']}s": each["spec"]["template"]
        for each in rendered
        if each["kind"] == "Deployment"
    }


@pytest.mark.parametrize(("change", "restarted"), CHANGES)
def test_what_a_change_restarts_is_as_told(change: str, restarted: str) -> None:
    before, after = pods(), pods("--set", change)
    assert {name for name in before if before[name] != after[name]} == set(restarted.split(", ")) - {"none"}


def test_the_table_of_slots_is_what_the_function_says(tmp_path: Path) -> None:
    [code] = blocks(SCALING, "python")
    file = tmp_path / "slots.py"
    file.write_text(code)
    known = runpy.run_path(str(file))
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", SCALING.read_text(), re.MULTILINE)
    assert len(rows) > 3
    for calls, *shown in rows:
        assert [int(each) for each in shown] == [known["slots"](int(calls), share) for share in (0.01, 0.001, 0.0001)]


@pytest.mark.parametrize("feature", FEATURES.features, ids=lambda each: each.feature)
def test_features_name_values_that_exist_and_models_that_were_looked_at(feature: Feature) -> None:
    assert [value for value in feature.values if not exists(value)] == []
    assert {*feature.has, *feature.partly} <= FEATURES.models.keys()
    assert not set(feature.has) & feature.partly.keys()


def test_features_are_told_once_and_some_are_only_here() -> None:
    names = [each.feature for each in FEATURES.features]
    assert len(names) == len(set(names))
    assert sum(each.only_here for each in FEATURES.features) >= 6


def test_the_front_page_links_every_page() -> None:
    front = (ROOT / "README.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if f"](docs/{page.name})" not in front] == []
