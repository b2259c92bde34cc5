"""What an upgrade cannot change: names, and the selectors by which Deployments and Services know their pods.

Kubernetes refuses another selector for a Deployment, so that every `helm upgrade` from an older version would fail.
Under another name an object is a new one: the old one goes, and with a Deployment all of its pods at once.
"""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
import yaml

from chart.helm import MINIMAL, objects, render
from lab.paths import CHART, ROOT
from lab.releases import Release, releases

FROZEN = ROOT / "tests" / "chart" / "frozen.yaml"
EVERYTHING = CHART / "tests" / "values" / "everything.yaml"
# Whose selectors cannot be changed, or not without a moment in which pods have no Service or no budget. What watches
# pods, or lets them through, may choose anew at any time.
SELECTING = frozenset({"Deployment", "PodDisruptionBudget", "Service"})
# Of most labels; left out of the file.
PREFIX = "app.kubernetes.io/"
# Ways to install: release name, and what helm is given.
INSTALLS = {
    "release demo": ("demo", ()),
    "fullnameOverride calls": ("demo", ("--set", "fullnameOverride=calls")),
}
# Of what excludes one another, each: together they render every kind of object.
VARIANTS = (
    (EVERYTHING, ()),
    (EVERYTHING, ("--set", "telemetry.metrics.monitor=podMonitor")),
    (EVERYTHING, ("--set", "telemetry.metrics.monitor=podMonitoring")),
    (MINIMAL, ()),
)
# The same, by values that the released versions do not know.
UNRELEASED = (
    (
        MINIMAL,
        (
            *("--set", "livekit.existingSecret.name=,secretManager.enabled=true,secretManager.project=p"),
            *("--set", "secretManager.secrets.livekit.apiKey=k,secretManager.secrets.livekit.apiSecret=s"),
        ),
    ),
)


def selects(each: dict[str, Any]) -> str | None:
    """By what an object knows others for good, in one line; None for one that knows none so."""
    if "roleRef" in each:
        # Kubernetes refuses another one, too.
        return f"{each['roleRef']['kind']}/{each['roleRef']['name']}"
    if each["kind"] not in SELECTING:
        return None
    spec = each.get("spec") or {}
    found = spec.get("selector") or {}
    labels = sorted(found.get("matchLabels", found).items())
    return ", ".join(f"{key.removeprefix(PREFIX)}={value}" for key, value in labels) or None


@functools.cache
def rendered(install: str, of: Release | None = None) -> dict[str, str | None]:
    """What an install makes, by this checkout's chart or that of a release."""
    release, arguments = INSTALLS[install]
    found: dict[str, str | None] = {}
    for values, more in VARIANTS if of else VARIANTS + UNRELEASED:
        chart, values = (of.path(CHART), of.path(values)) if of else (CHART, values)
        for each in objects(render(*arguments, *more, values=values, release=release, chart=chart)):
            found[f"{each['kind']}/{each['metadata']['name']}"] = selects(each)
    return dict(sorted(found.items()))


@pytest.mark.parametrize("install", INSTALLS)
def test_names_and_selectors_stay(install: str) -> None:
    frozen, now = yaml.safe_load(FROZEN.read_text())[install], rendered(install)
    gone = sorted(frozen.keys() - now.keys())
    changed = {name: (frozen[name], now[name]) for name in frozen.keys() & now.keys() if frozen[name] != now[name]}
    assert not gone + list(changed), (
        f"gone: {gone}, selectors changed: {changed}. `helm upgrade` from a released version would fail, or replace "
        "all pods at once. Give the objects their names and selectors back. If it has to be, then with a new major "
        f"version, and the way there in UPGRADING.md; change {FROZEN.name} last"
    )
    added = yaml.safe_dump({name: now[name] for name in now.keys() - frozen.keys()}, width=1000)
    assert now == frozen, f"add to `{install}` in {FROZEN.name}, and keep it so from then on:\n{added}"


@pytest.mark.parametrize("install", INSTALLS)
@pytest.mark.parametrize("release", releases(), ids=lambda release: release.version)
def test_what_is_frozen_is_what_was_released(release: Release, install: str) -> None:
    assert rendered(install, release).items() <= yaml.safe_load(FROZEN.read_text())[install].items()


def test_every_kind_that_the_chart_knows_is_rendered() -> None:
    templates = [path.read_text() for path in (CHART / "templates").rglob("*.yaml")]
    known = {kind for text in templates for kind in re.findall(r"^kind: (\w+)$", text, re.MULTILINE)}
    assert known <= {name.partition("/")[0] for name in rendered("release demo")}
