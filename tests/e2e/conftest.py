"""Each end-to-end test begins with a fresh release of two idle pods."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lab.callers import CallPlan
from lab.interpreters import warm
from lab.stage import Stage


@pytest.fixture(scope="session", autouse=True)
def interpreter() -> Iterator[None]:
    """Callers are forked: the processor time that their imports take would be missing to pods that start."""
    with warm(["lab.callers.caller"]):
        yield


@pytest.fixture
def release(stage: Stage) -> Stage:
    """The stage with the chart as ``values/local.yaml`` has it, and no pod of an earlier test."""
    stage.install()
    stage.settle()
    return stage


@pytest.fixture
def plan(stage: Stage, request: pytest.FixtureRequest) -> CallPlan:
    """Open-ended calls to the release's agent, in rooms of the test's own."""
    endpoints = stage.endpoints
    room = f"{request.node.name[:40]}-{int(time.time())}"
    return CallPlan(endpoints.livekit_url, endpoints.api_key, endpoints.api_secret, room=room)
