"""kube-score finds nothing in rendered manifests that is not justified in ``kube_score.yaml``."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml

from chart.helm import ALL_VALUES, render
from lab.paths import tool

COMMAND = ("score", "--kubernetes-version=v1.37", "--output-format=json")
# Asked for besides the rules that are asked by default.
OPTIONAL = ("container-seccomp-profile", "container-ports-check")
# kube-score's grade of what is all right.
OK = 10


@dataclass(frozen=True)
class Finding:
    """What is wrong with an object, and in which values file's manifests."""

    values: str
    rule: str
    object: str
    says: str


@dataclass(frozen=True)
class Ignored:
    """Findings that are left as they are. Empty fields match everything."""

    rule: str
    reason: str
    objects: frozenset[str]
    values: frozenset[str]
    says: str

    def __contains__(self, finding: Finding) -> bool:
        return (
            finding.rule == self.rule
            and (not self.objects or finding.object in self.objects)
            and (not self.values or finding.values in self.values)
            and self.says in finding.says
        )


def _read(rule: str, reason: str, objects: Sequence[str] = (), values: Sequence[str] = (), says: str = "") -> Ignored:
    return Ignored(rule, reason, frozenset(objects), frozenset(values), says)


IGNORED = [_read(**entry) for entry in yaml.safe_load(Path(__file__).with_name("kube_score.yaml").read_text())]


@cache
def findings(values: str) -> frozenset[Finding]:
    optional = [word for name in OPTIONAL for word in ("--enable-optional-test", name)]
    command = [str(tool("kube-score")), *COMMAND, *optional, "-"]
    done = subprocess.run(command, input=render(values=ALL_VALUES[values]), capture_output=True, text=True)
    # 1 is for findings.
    assert done.returncode in {0, 1}, done.stderr
    scored = json.loads(done.stdout)
    assert scored, done.stderr
    return frozenset(
        Finding(values, check["check"]["id"], each["object_meta"]["name"].removeprefix("demo-voice-agent-"), said)
        for each in scored
        for check in each["checks"]
        if check["grade"] < OK and not check["skipped"]
        for said in (comment["summary"] for comment in check["comments"])
    )


@pytest.mark.parametrize("values", ALL_VALUES)
def test_what_is_found_is_fixed_or_justified(values: str) -> None:
    unjustified = [each for each in findings(values) if not any(each in ignored for ignored in IGNORED)]
    assert not unjustified, "fix it in the chart, or say in kube_score.yaml why not"


@pytest.mark.parametrize("ignored", IGNORED, ids=lambda ignored: f"{ignored.rule} {'-'.join(sorted(ignored.objects))}")
def test_what_is_ignored_is_still_found(ignored: Ignored) -> None:
    found = [each for values in ALL_VALUES for each in findings(values) if each in ignored]
    assert found, "take it out of kube_score.yaml"
    assert ignored.objects <= {each.object for each in found}
    assert ignored.values <= {each.values for each in found}
    assert ignored.reason
