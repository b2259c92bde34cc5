"""Agents that are asked in their rooms: who answers counts, for a while, and who cannot be asked does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api
from livekit.protocol.room import PerformRpcRequest, PerformRpcResponse

from voice_agent.keeper import rooms
from voice_agent.keeper.rooms import REMEMBER_SECONDS, AgentsInRooms
from voice_agent.tether.wire import Tethered


def a_call(number: int, epoch: int = 1) -> Tethered:
    return Tethered(
        f"room-{number}", f"RM_{number}", "caller", epoch, "AJ", "AD", "pod", "node", f"agent-{number}", "voice-agent"
    )


class LiveKit:
    """Answers with each agent's epoch; of others it waits, or says that they are not there."""

    def __init__(self, epochs: dict[str, str], error: Exception | None = None) -> None:
        self.room = SimpleNamespace()
        self.asked: list[str] = []
        self._epochs = epochs
        self._error = error

    async def answer(self, _: Any, request: PerformRpcRequest) -> PerformRpcResponse:
        self.asked.append(request.destination_identity)
        if self._error:
            raise self._error
        if request.destination_identity not in self._epochs:
            await asyncio.Event().wait()
        return PerformRpcResponse(payload=self._epochs[request.destination_identity])


def asking(livekit: LiveKit, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> AgentsInRooms:
    monkeypatch.setattr(rooms, "_perform_rpc", livekit.answer)
    monkeypatch.setattr(rooms, "ANSWER_SECONDS", 0.05)
    return AgentsInRooms(cast(api.LiveKitAPI, livekit), lambda: clock[0])


async def test_who_answers_with_the_epoch_that_is_known_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    livekit = LiveKit({"agent-1": "1", "agent-2": "1", "agent-3": ""})
    agents = asking(livekit, monkeypatch, [0.0])
    one, dead, superseded = a_call(1), a_call(9), a_call(3)
    newer = a_call(2, epoch=2)
    assert await agents.answering([one, dead, superseded, newer]) == {one}
    assert [call for call in (one, dead, superseded, newer) if agents.unanswered(call)] == [dead]


async def test_an_agent_that_has_answered_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    livekit, clock = LiveKit({"agent-1": "1"}), [0.0]
    agents = asking(livekit, monkeypatch, clock)
    for clock[0] in (0.0, REMEMBER_SECONDS / 2):
        assert await agents.answering([a_call(1)]) == {a_call(1)}
    assert livekit.asked == ["agent-1"]
    livekit._epochs.clear()
    clock[0] = REMEMBER_SECONDS + 0.1
    assert await agents.answering([a_call(1)]) == frozenset()


async def test_who_was_asked_a_moment_ago_counts_when_others_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    livekit, clock = LiveKit({}), [0.0]
    agents = asking(livekit, monkeypatch, clock)
    await agents.answering([a_call(1)])
    await agents.answering([a_call(2)])
    assert agents.unanswered(a_call(1))
    assert agents.unanswered(a_call(2))
    clock[0] = REMEMBER_SECONDS + 0.1
    await agents.answering([])
    assert not agents.unanswered(a_call(1))


@pytest.mark.parametrize(
    "error",
    [api.TwirpError(api.TwirpErrorCode.UNIMPLEMENTED, "no such method", status=501), ValueError("no such answer")],
)
async def test_a_server_that_cannot_ask_answers_for_nobody(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    livekit = LiveKit({}, error)
    agents = asking(livekit, monkeypatch, [0.0])
    assert await agents.answering([a_call(1)]) == frozenset()
    assert not agents.unanswered(a_call(1)), "nobody was asked"
