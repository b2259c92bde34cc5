"""One machine has one local cluster, whichever checkout it came from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.cluster import ClusterError
from lab.cluster.local import cgroups, host


@pytest.fixture
def other_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of a running cluster that is not ours."""
    state = tmp_path / "elsewhere"
    state.mkdir()
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"state": str(state), "sysctls": {}, "netns_mounted": False, "folders": []}))
    monkeypatch.setattr(host, "RECORD", record)
    monkeypatch.setattr(cgroups, "members", lambda: {1})
    return state


def test_the_cluster_of_another_checkout_is_left_alone(other_checkout: Path) -> None:
    with pytest.raises(ClusterError, match=rf"{other_checkout}.*run `make down` there"):
        host.refuse_other_checkout()


def test_the_cluster_of_a_deleted_checkout_may_be_removed(other_checkout: Path) -> None:
    other_checkout.rmdir()
    host.refuse_other_checkout()


def test_a_cluster_that_no_longer_runs_may_be_removed(other_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "members", set)
    host.refuse_other_checkout()
