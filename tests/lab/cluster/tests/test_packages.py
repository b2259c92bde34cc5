"""A machine without the needed packages is told which ones to install, and how."""

from __future__ import annotations

import os

import pytest

from lab.cluster import ClusterError
from lab.cluster.local import packages
from lab.cluster.local.progress import Progress


def test_missing_packages_are_named_when_they_cannot_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = {"no-such-program": "first", "neither-this": "second", "also-not": "second", "sh": "dash"}
    monkeypatch.setattr(packages, "PACKAGES", wanted)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match=r"sudo apt-get install -y --no-install-recommends first second$"):
        packages.ensure(Progress())


def test_a_machine_that_has_everything_installs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PACKAGES", {"sh": "dash"})
    monkeypatch.setenv("PATH", "/bin")
    assert packages.missing() == []
