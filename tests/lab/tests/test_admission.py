"""Autopilot's rules are in force before anything is installed, or the reason is told."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from lab import admission
from lab.cluster.base import AUTOPILOT_RULES
from lab.kubectl import CommandError, Kubectl


class FakeKubectl:
    """An API server that answers as it is told, the last answer for ever; an empty one admits."""

    namespace = "calls"

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.applied: list[dict[str, Any]] = []

    def apply(self, *documents: dict[str, Any]) -> None:
        self.applied += documents

    def run(self, *args: str, stdin: str, timeout: float) -> str:
        assert "--dry-run=server" in args
        assert json.loads(stdin)["items"]
        if said := self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]:
            raise CommandError(said)
        return ""


DENIED = "pods is forbidden: ValidatingAdmissionPolicy 'autopilot.voice-agent.lab' denied request"


def enforce(fake: FakeKubectl) -> None:
    admission.enforce(cast(Kubectl, fake))


def test_it_waits_until_a_pod_is_refused() -> None:
    fake = FakeKubectl("", "", DENIED)
    enforce(fake)
    assert fake.answers == [DENIED]
    policy, binding, namespace = fake.applied
    assert binding["spec"]["policyName"] == policy["metadata"]["name"]
    assert binding["spec"]["matchResources"]["namespaceSelector"]["matchLabels"] == AUTOPILOT_RULES
    assert namespace["metadata"]["labels"].items() >= AUTOPILOT_RULES.items()


def test_rules_that_are_not_followed_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_IN_FORCE_SECONDS", 0.0)
    with pytest.raises(admission.AdmissionError, match="a pod without requests is admitted to calls"):
        enforce(FakeKubectl(""))


def test_another_refusal_is_not_taken_for_the_rules() -> None:
    with pytest.raises(admission.AdmissionError, match="service account default not found"):
        enforce(FakeKubectl("pods is forbidden: service account default not found"))
