"""A pod with which Gemini has had no session yet: what keeps it from calls, and for how long."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from prometheus_client import REGISTRY

from voice_agent.gemini import Ending
from voice_agent.settings import Settings
from voice_agent.worker import acceptance
from voice_agent.worker.acceptance import Acceptance

REFUSED = Ending("1008", RuntimeError("no such key"), code=1008, at_setup=True)
SILENT = Ending("unreachable", TimeoutError(), at_setup=True)
AWAY = Ending("1011", code=1011, at_setup=True)


class Gemini:
    """Answers one attempt after the other; notes what the pod lacked at each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings, *answers: Ending | None) -> None:
        self.pod = Acceptance(settings)
        self.lacked: list[str | None] = []
        self.missed: list[float | None] = []
        self.answers = list(answers)
        monkeypatch.setattr("voice_agent.gemini.fails", self.fails)
        monkeypatch.setattr(acceptance, "ASK_AGAIN_SECONDS", 0.0)

    async def fails(self, *_: object) -> Ending | None:
        self.lacked.append(self.pod.lacking)
        self.missed.append(REGISTRY.get_sample_value("voice_agent_gemini_missing"))
        return self.answers.pop(0)


async def test_a_refusal_is_taken_back_by_nothing_but_a_session(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    gemini = Gemini(monkeypatch, make_settings(), REFUSED, SILENT, None)
    await gemini.pod.unless_refused()
    assert gemini.lacked == [None, *["Gemini refuses this pod: no such key"] * 2]
    assert gemini.missed == [0, 1, 1]
    assert gemini.pod.lacking is None
    assert REGISTRY.get_sample_value("voice_agent_gemini_missing") == 0


@pytest.mark.parametrize("first", [SILENT, AWAY], ids=["silent", "away"])
async def test_a_gemini_that_does_not_answer_is_not_waited_for_and_asked_until_it_does(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, first: Ending
) -> None:
    gemini = Gemini(monkeypatch, make_settings(), first, SILENT, REFUSED, SILENT, None)
    async with asyncio.timeout(5):
        await gemini.pod.unless_refused()
        assert gemini.pod.lacking == f"Gemini does not answer this pod: {first.reason}"
        await gemini.pod.until_accepted()
    assert gemini.pod.lacking is None
    assert not gemini.pod.refused
    assert gemini.lacked[-1] == "Gemini refuses this pod: no such key"
    assert not gemini.answers


def test_a_hiccup_costs_a_second_and_an_outage_is_asked_about_every_ten() -> None:
    assert list(itertools.islice(acceptance._pauses(), 6)) == [1, 2, 4, 8, 10, 10]


async def test_nobody_asks_again_once_there_was_a_session(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    gemini = Gemini(monkeypatch, make_settings(), None)
    async with asyncio.timeout(5):
        await gemini.pod.unless_refused()
        await gemini.pod.until_accepted()
    assert len(gemini.lacked) == 1
