"""A pod that is given a call and does not reach the model: the agent before must have it back soon."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

from voice_agent.call import session
from voice_agent.call.handover.take import TakeError
from voice_agent.call.live import Call
from voice_agent.call.snapshot import Snapshot
from voice_agent.telemetry import metrics


async def test_a_model_that_is_not_reached_in_time_is_told_to_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resume(*_: object, cut: float) -> None:
        await asyncio.Event().wait()

    told: list[tuple[str, tuple[str, ...]]] = []
    monkeypatch.setattr(metrics, "_tell", lambda *count: told.append(count))
    monkeypatch.setattr(session, "CONNECTED_WITHIN_SECONDS", 0.05)
    audible: list[bool] = []
    session_ = SimpleNamespace(output=SimpleNamespace(set_audio_enabled=audible.append))
    call = cast("Call", SimpleNamespace(resume=resume, is_running=True, session=session_))
    with pytest.raises(TakeError, match="not reached"):
        await session._go_on(call, cast("Snapshot", SimpleNamespace(model=None)), 0.0)
    assert audible == [False]
    assert told == [(metrics.MODEL_LOST, (metrics.UNREACHABLE,))]
