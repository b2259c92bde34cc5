"""Real servers for the image's code: livekit-server, and Gemini's simulator."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab.callers import CallPlan
from lab.gemini import Simulator, simulator
from lab.interpreters import warm
from lab.livekit import LiveKit, livekit_server
from lab.worker import environment


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs real servers, and a machine that does not stand still meanwhile."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.flaky(reruns=2, only_rerun=["StarvedError"]))


@pytest.fixture(scope="session", autouse=True)
def interpreter() -> Iterator[None]:
    """Workers, keepers and callers are forked: to start each anew would cost more than most tests do with it."""
    with warm():
        yield


@pytest.fixture(scope="session")
def livekit() -> Iterator[LiveKit]:
    with livekit_server() as server:
        yield server


@pytest.fixture
async def gemini() -> AsyncIterator[Simulator]:
    async with simulator() as running:
        yield running


@pytest.fixture
def variables(livekit: LiveKit, gemini: Simulator, request: pytest.FixtureRequest) -> dict[str, str]:
    """A worker's settings; the agent's name is the test's, so that workers of other tests get none of its calls."""
    # Most tests hold one call: processes that wait for others cost the time in which they start.
    return environment(livekit, gemini) | {"AGENT_NAME": request.node.name, "IDLE_PROCESSES": "1"}


@pytest.fixture
def plan(livekit: LiveKit, request: pytest.FixtureRequest) -> CallPlan:
    """A caller who talks fast and goes on until told to stop."""
    name = request.node.name
    # A test that is tried again is in another room: LiveKit keeps the first one's for a while, with its dispatch.
    room = f"{name}-{time.monotonic_ns()}"
    return CallPlan(
        livekit.url, livekit.key, livekit.secret, room=room, agent_name=name, pause_s=0.6, answer_timeout_s=15
    )
