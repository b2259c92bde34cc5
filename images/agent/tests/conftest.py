"""What the unit tests share: settings that are right."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from voice_agent.settings import Settings, parse

GOOD = {
    "LIVEKIT_URL": "wss://livekit.example",
    "LIVEKIT_API_KEY": "key",
    "LIVEKIT_API_SECRET": "a-secret-to-hide",
    "GOOGLE_API_KEY": "a-key-to-hide",
    "POD_NAME": "pod-1",
}


@pytest.fixture
def environment() -> dict[str, str]:
    """An environment without a problem, to be made worse."""
    return dict(GOOD)


@pytest.fixture
def make_settings() -> Callable[..., Settings]:
    """Settings that are right, with these variables changed."""

    def make(**changes: str) -> Settings:
        settings, problems = parse(GOOD | changes)
        assert problems == []
        return settings

    return make


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Write a module that can be imported for the length of a test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def write(name: str, source: str) -> None:
        written.append(name)
        (tmp_path / f"{name}.py").write_text(source)

    yield write
    for name in written:
        sys.modules.pop(name, None)
