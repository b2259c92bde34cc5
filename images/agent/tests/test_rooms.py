"""Agents that are asked in their rooms; LiveKit is the test's."""

from __future__ import annotations

from typing import Any, cast

import pytest
from livekit import api
from livekit.protocol.room import PerformRpcRequest, PerformRpcResponse

from voice_agent.keeper import rooms
from voice_agent.keeper.rooms import REMEMBER_SECONDS, AgentsInRooms
from voice_agent.tether.wire import Tethered


def a_call(number: int) -> Tethered:
    return Tethered("room", "RM_1", f"caller-{number}", number, "AJ", "AD", "pod", "node", f"agent-{number}", "agent")


class LiveKit:
    """Passes each question to the agents that live; `error` is what it answers with instead."""

    def __init__(self, *alive: Tethered) -> None:
        self.room = self
        self.alive = {call.agent_identity: call for call in alive}
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def answer(self, _: Any, request: PerformRpcRequest) -> PerformRpcResponse:
        self.asked.append(request.destination_identity)
        if self.error is not None:
            raise self.error
        if request.destination_identity not in self.alive:
            raise TimeoutError
        return PerformRpcResponse(payload=str(self.alive[request.destination_identity].epoch))


def agents(livekit: LiveKit, monkeypatch: pytest.MonkeyPatch, clock: list[float] | None = None) -> AgentsInRooms:
    monkeypatch.setattr(rooms, "_perform_rpc", livekit.answer)
    return AgentsInRooms(cast(api.LiveKitAPI, livekit), clock=lambda: (clock or [0.0])[0])


async def test_only_of_those_that_are_asked_about_it_is_told_that_they_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, dead = a_call(1), a_call(2), a_call(3)
    asking = agents(LiveKit(one, two), monkeypatch)

    assert await asking.answering([one, two, dead]) == {one, two}
    assert await asking.answering(call for call in [two, dead]) == {two}
    assert await asking.answering([]) == frozenset()


async def test_who_has_answered_is_asked_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    one, clock = a_call(1), [0.0]
    livekit = LiveKit(one)
    asking = agents(livekit, monkeypatch, clock)
    await asking.answering([one])
    await asking.answering([one])
    assert len(livekit.asked) == 1

    livekit.alive.clear()
    clock[0] = REMEMBER_SECONDS + 0.1

    assert not await asking.answering([one])


@pytest.mark.parametrize("error", [TimeoutError(), api.TwirpError("unimplemented", "", status=404), ValueError("odd")])
async def test_a_livekit_that_cannot_ask_answers_for_nobody(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    livekit = LiveKit(a_call(1))
    livekit.error = error

    assert await agents(livekit, monkeypatch).answering([a_call(1)]) == frozenset()
