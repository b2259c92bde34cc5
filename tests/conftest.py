"""The stage of all tests that need the cluster, tests on a machine that is full, and a run's end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from lab.processors import fails_as_starved
from lab.stage import Stage, prepare


@pytest.fixture(scope="session")
def stage() -> Stage:
    """The cluster with the lab's servers in it; it is left up, `make down` takes it down."""
    return prepare()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have a test that is tried again where the machine is starved fail so on one that is full."""
    with fails_as_starved() if item.get_closest_marker("flaky") else nullcontext():
        return (yield)


def pytest_sessionstart() -> None:
    """Have a run that is told to go end as by Ctrl-C, so that tests end what they have started."""

    def leave(*_: object) -> None:
        # Whoever ends a run may tell every process of it, and then this one once more.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.raise_signal(signal.SIGINT)

    # It is ignored in what a script runs in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, leave)
