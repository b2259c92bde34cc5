"""Rules, dashboard and autoscalers ask for metrics, labels and values that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from prometheus_client.metrics import MetricWrapperBase

from chart.helm import WITH_CRDS, objects, render
from lab.paths import CHART
from voice_agent.telemetry import metrics

SERIES = re.compile(r"\b(voice_agent_\w+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)=~?"([^"]*)"')
GROUPS = re.compile(r"\bby \(([^)]*)\)")
# What the scrape adds.
TARGET_LABELS = {"namespace", "pod"}


def known() -> dict[str, MetricWrapperBase]:
    """Every metric of the image's own, by the name that Prometheus stores it under."""
    found = [each for each in vars(metrics).values() if isinstance(each, MetricWrapperBase)]
    return {f"{each._name}_total" if each._type == "counter" else each._name: each for each in found}


def rendered(kind: str, *args: str) -> dict[str, object]:
    """The object of that kind that watches or scales the fleet."""
    made = objects(render(*args, values=WITH_CRDS["monitoring"]))
    return next(each for each in made if each["kind"] == kind)


def rule_expressions() -> Iterator[str]:
    for group in rendered("PrometheusRule")["spec"]["groups"]:  # type: ignore[index]
        yield from (rule["expr"] for rule in group["rules"])


def dashboard_expressions() -> Iterator[str]:
    board = json.loads((CHART / "dashboards" / "calls.json").read_text())
    for panel in board["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (variable["query"]["query"] for variable in board["templating"]["list"] if variable["type"] == "query")


def autoscaler_expressions() -> Iterator[str]:
    yield rendered("ScaledObject")["spec"]["triggers"][0]["metadata"]["query"]  # type: ignore[index]
    scaler = rendered("HorizontalPodAutoscaler", "--set", "autoscaling.mode=external")
    yield scaler["spec"]["metrics"][0]["external"]["metric"]["name"]  # type: ignore[index]


@pytest.mark.parametrize("expressions", [rule_expressions, dashboard_expressions, autoscaler_expressions])
def test_what_is_asked_for_is_there(expressions: type[Iterator[str]]) -> None:
    there, asked = known(), list(expressions())
    assert asked
    for expression in asked:
        series = SERIES.findall(expression)
        assert series, expression
        labels: set[str] = set()
        for name, matchers in series:
            assert name in there, f"no metric is called {name}: {expression}"
            labels |= {*there[name]._labelnames}
            for label, value in MATCHER.findall(matchers):
                if label in TARGET_LABELS:
                    continue
                assert label in there[name]._labelnames, f"{name} has no label {label}: {expression}"
                assert re.search(rf"\b{value}\b", there[name]._documentation), f"{name} is never {value}: {expression}"
        for group in GROUPS.findall(expression):
            assert {each.strip() for each in group.split(",")} <= labels | TARGET_LABELS, expression


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for expression in dashboard_expressions() for name, _ in SERIES.findall(expression)}
    assert shown == known().keys()


def test_every_alert_says_what_happened_and_where_to_look() -> None:
    for group in rendered("PrometheusRule")["spec"]["groups"]:  # type: ignore[index]
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"critical", "warning"}
            assert set(rule["annotations"]) == {"summary", "description", "runbook"}, rule["alert"]


def test_the_dashboard_reaches_grafana_as_it_is_written() -> None:
    [text] = rendered("ConfigMap")["data"].values()  # type: ignore[attr-defined]
    assert json.loads(text) == json.loads((CHART / "dashboards" / "calls.json").read_text())
