"""What an agent that must go makes of its successor's answers."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest
from livekit import rtc

from voice_agent.call.handover.wire import Condition, condition

WELL, STARVED = Condition(), Condition(starved=True)


async def _condition(answer: str | rtc.RpcError.ErrorCode | None) -> Condition | None:
    """What comes of this answer, this error, or of none at all."""

    async def perform_rpc(**_: object) -> str:
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, rtc.RpcError.ErrorCode):
            raise rtc.RpcError(answer, "")
        return cast("str", answer)

    room = SimpleNamespace(local_participant=SimpleNamespace(perform_rpc=perform_rpc))
    return await condition(cast("rtc.Room", room), "successor", 0.05)


@pytest.mark.parametrize(
    ("answer", "fares"),
    [
        (STARVED.model_dump_json(), STARVED),
        (WELL.model_dump_json(), WELL),
        (None, None),
        (rtc.RpcError.ErrorCode.RECIPIENT_DISCONNECTED, None),
        (rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD, WELL),
        ("", WELL),
        ('{"starved": "very"}', WELL),
    ],
    ids=["starved", "well", "no answer", "gone", "knows no such question", "has nothing to tell", "tells otherwise"],
)
async def test_a_successor_fares_as_it_says(
    answer: str | rtc.RpcError.ErrorCode | None, fares: Condition | None
) -> None:
    assert await _condition(answer) == fares
