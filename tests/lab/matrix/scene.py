"""What a disruption is done to, and what it says that it did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lab.stage import Stage


@dataclass(frozen=True)
class Scene:
    """A release with live calls.

    Attributes:
        stage: the release.
        serving: how many of the calls each pod has.
    """

    stage: Stage
    serving: Counter[str]

    @property
    def busy(self) -> str:
        """The pod with the most calls."""
        return self.serving.most_common()[0][0]


@dataclass(frozen=True)
class Effect:
    """What was done.

    Attributes:
        began: when, wall-clock seconds: of the first thing that a call could feel.
        struck: the pods whose calls it concerns.
        killed: those of them whose calls had no warning: the turn under way may be lost.
        gone: the pods that must go.
    """

    began: float
    struck: frozenset[str] = frozenset()
    killed: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    @classmethod
    def told(cls, began: float, pods: set[str]) -> Effect:
        """Pods were told to go."""
        return cls(began, struck=frozenset(pods), gone=frozenset(pods))

    @classmethod
    def died(cls, began: float, pods: set[str], gone: set[str] | None = None) -> Effect:
        """Pods, or what ran in them, ended without a warning; of those that Kubernetes replaces, ``gone`` tells."""
        return cls(began, frozenset(pods), frozenset(pods), frozenset(gone or set()))
