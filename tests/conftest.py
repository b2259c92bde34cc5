"""The stage of all tests that need the cluster."""

from __future__ import annotations

import pytest

from lab.stage import Stage, prepare


@pytest.fixture(scope="session")
def stage() -> Stage:
    """The cluster with the lab's servers in it; it is left up, `make down` takes it down."""
    return prepare()
