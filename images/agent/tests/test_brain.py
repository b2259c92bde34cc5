"""What the keeper does about the calls that it takes for lost, and about those that others find."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from livekit import api
from livekit.agents.utils.aio import cancel_and_wait

from voice_agent.keeper import recovery
from voice_agent.keeper.alone import AlwaysLeading, NoPeers, UnknownPods
from voice_agent.keeper.brain import FOUND_AT_A_TIME, Brain
from voice_agent.keeper.recovery import Result
from voice_agent.state.memory import MemoryStore
from voice_agent.tether.wire import RESTORING, Loss, Tethered

CALL = Tethered("room", "RM_1", "caller", 1, "AJ_1", "AD_1", "one", "node", "agent-1", "voice-agent")


async def test_of_callers_who_are_found_waiting_a_bounded_number_is_recovered_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Rooms:
        """LiveKit, which does not answer before it is let."""

        def __init__(self) -> None:
            self.room = self
            self.let = asyncio.Event()

        async def list_rooms(self, _: api.ListRoomsRequest) -> api.ListRoomsResponse:
            await self.let.wait()
            return api.ListRoomsResponse()

        async def list_participants(self, _: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
            return api.ListParticipantsResponse()

    monkeypatch.setattr(recovery, "ROOM_STAYS_SECONDS", 0.0)
    rooms = Rooms()
    brain = Brain(cast(api.LiveKitAPI, rooms), MemoryStore(), AlwaysLeading(), UnknownPods(), NoPeers())
    brain.on_call(CALL)
    waiting = [replace(CALL, room=f"waiting-{n}", room_sid=f"RM_waiting_{n}") for n in range(FOUND_AT_A_TIME + 1)]

    assert [brain.recover_found(call) for call in waiting] == [True] * FOUND_AT_A_TIME + [False]
    assert brain.rooms() == {call.room_sid for call in [*waiting[:-1], CALL]}
    rooms.let.set()
    async with asyncio.timeout(5):
        while brain.rooms() != {CALL.room_sid}:  # noqa: ASYNC110 - the recoveries change it
            await asyncio.sleep(0.01)
    assert brain.recover_found(waiting[-1])


async def test_a_lost_call_may_be_had_by_another_only_while_this_keeper_has_it_taken_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken_up = asyncio.Event()

    class Sends:
        """An agent that never comes."""

        async def run(self, *_: object, **__: object) -> Result:
            taken_up.set()
            await asyncio.Event().wait()
            raise AssertionError

    nobody = cast(api.LiveKitAPI, SimpleNamespace(room=None))
    brain = Brain(nobody, MemoryStore(), AlwaysLeading(), UnknownPods(), NoPeers())
    monkeypatch.setattr(brain, "_recovery", Sends())
    brain.on_call(CALL)
    assert not brain.recovers(CALL.call)
    brain.on_lost(CALL, Loss.CLOSED)
    # It may be its own connection that broke.
    assert not brain.recovers(CALL.call)
    looking = asyncio.create_task(brain.run())
    try:
        await asyncio.wait_for(taken_up.wait(), 20)
        assert brain.recovers(CALL.call)
        next_one = replace(CALL, epoch=3)
        brain.on_call(next_one)
        assert not brain.recovers(CALL.call), "it has an agent"
        brain.on_state(next_one, {RESTORING: 3})
        brain.on_lost(next_one, Loss.CLOSED)
        assert brain.died(CALL.call) == 1
        assert not brain.recovers(CALL.call), "another would not know what the keepers tell theirs"
    finally:
        await cancel_and_wait(looking)


async def test_a_call_that_loses_every_agent_is_not_sent_the_third_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    third = asyncio.Event()

    class Recovers:
        """Finds an agent at once, which dies at once."""

        async def run(self, call: Tethered, recovered: Callable[[], None], *_: object, **__: object) -> Result:
            sent.append(call.epoch)
            recovered()
            following = replace(call, epoch=call.epoch + 1)
            brain.on_call(following)
            asyncio.get_running_loop().call_later(0.01, brain.on_lost, following, Loss.CLOSED)
            if len(sent) == 3:
                third.set()
            return Result.RECOVERED

    nobody = cast(api.LiveKitAPI, SimpleNamespace(room=None))
    brain = Brain(nobody, MemoryStore(), AlwaysLeading(), UnknownPods(), NoPeers())
    monkeypatch.setattr(brain, "_recovery", Recovers())
    looking = asyncio.create_task(brain.run())
    try:
        brain.on_call(CALL)
        brain.on_lost(CALL, Loss.CLOSED)
        async with asyncio.timeout(20):
            while len(sent) < 2:  # noqa: ASYNC110 - the brain looks by itself
                await asyncio.sleep(0.01)
            second_at = time.monotonic()
            await third.wait()
        assert time.monotonic() - second_at >= 1.0
    finally:
        await cancel_and_wait(looking)
