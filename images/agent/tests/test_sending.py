"""An agent that is sent to a lost call: when it counts as having come, and when its dispatches are deleted."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from livekit import api
from livekit.protocol.models import ParticipantInfo

from voice_agent.call.errand import Errand, Kind
from voice_agent.call.fence import CALLER_ATTRIBUTE, EPOCH_ATTRIBUTE
from voice_agent.keeper import recovery, sending
from voice_agent.keeper.alone import AlwaysLeading
from voice_agent.keeper.fleet import Known
from voice_agent.keeper.ports import Leadership
from voice_agent.keeper.recovery import Recovery, Result
from voice_agent.state.memory import MemoryStore

from .waiting_room import LOST, Room, supersede


async def test_a_keeper_that_leads_no_more_sends_no_further_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Losing(Room):
        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            lead.leading = False
            return await super().create_dispatch(request)

    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.1)
    room, lead = Losing(""), SimpleNamespace(leading=True)
    room.unanswered = 99
    looking = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, lambda _: None, cast(Leadership, lead))
    assert await looking.run(LOST) is Result.LEFT_TO_ANOTHER
    assert len(room.created) == 1


@pytest.mark.parametrize(("epoch", "result"), [("2", Result.RECOVERED), ("1", Result.GIVEN_UP)])
async def test_an_agent_that_is_tethered_elsewhere_is_known_by_what_it_says_in_the_room(
    monkeypatch: pytest.MonkeyPatch, epoch: str, result: Result
) -> None:
    monkeypatch.setattr(sending, "TETHERED_WITHIN_SECONDS", 0.05)
    monkeypatch.setattr(recovery, "GIVE_UP_SECONDS", 1.0)
    room = Room("gold")
    attributes = {EPOCH_ATTRIBUTE: epoch, CALLER_ATTRIBUTE: "caller"}
    room.agents = [ParticipantInfo(identity="agent-2", kind=ParticipantInfo.Kind.AGENT, attributes=attributes)]

    keeper = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, lambda _: None, AlwaysLeading())

    assert await keeper.run(LOST) is result
    assert ("AD_2" in room.dispatches) is (result is Result.RECOVERED), "deleting its dispatch would end the agent"


async def test_a_look_that_livekit_does_not_answer_ends_no_agent_that_is_on_its_way() -> None:
    class Failing(Room):
        asked = 0

        async def get_dispatch(self, dispatch: str, room: str) -> api.AgentDispatch | None:
            self.asked += dispatch != "AD_1"
            if self.asked == 1:
                raise TimeoutError
            return await super().get_dispatch(dispatch, room)

    room = Failing("gold")
    known = room.tethers(replace(LOST, epoch=2, dispatch_id="AD_2"))
    keeper = Recovery(
        cast(api.LiveKitAPI, room),
        MemoryStore(),
        supersede,
        lambda call: known(call) if room.asked > 1 else None,
        AlwaysLeading(),
    )

    assert await asyncio.wait_for(keeper.run(LOST), 10) is Result.RECOVERED
    assert len(room.created) == 1


@pytest.mark.parametrize(("silent", "unanswered"), [(True, 2), (False, 1)], ids=["never-answers", "full-for-a-moment"])
async def test_a_dispatch_that_no_worker_takes_does_not_hold_up_the_next_of_the_same_try(
    monkeypatch: pytest.MonkeyPatch, silent: bool, unanswered: int
) -> None:
    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.4)
    room = Room("gold")
    room.unanswered = unanswered
    taken = f"AD_{unanswered + 2}"
    served = replace(LOST, epoch=2, dispatch_id=taken)

    tethered = room.tethers(served, after=unanswered + 1)
    keeper = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, tethered, AlwaysLeading())

    assert await keeper.run(LOST, silent=silent) is Result.RECOVERED
    assert len({request.metadata for request in room.created}) == 1, "they are one try, with one epoch"
    assert list(room.dispatches) == [taken]


@pytest.mark.parametrize("silent", [True, False])
@pytest.mark.parametrize("taken", ["first", "last"])
async def test_an_agent_is_found_however_late_livekit_answers(
    monkeypatch: pytest.MonkeyPatch, taken: str, silent: bool
) -> None:
    class Slow(Room):
        told, abandoned = False, 0

        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            await self._think()
            return await super().create_dispatch(request)

        async def get_dispatch(self, dispatch: str, room: str) -> api.AgentDispatch | None:
            found = await super().get_dispatch(dispatch, room)
            await self._think()
            self.told |= found is not None and bool(found.state.jobs)
            return found

        async def _think(self) -> None:
            try:
                await asyncio.sleep(3 * sending.ASSIGNED_WITHIN_SECONDS)
            except asyncio.CancelledError:
                self.abandoned += 1
                raise

    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.03)
    monkeypatch.setattr(sending, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(recovery, "GIVE_UP_SECONDS", 3.0)
    room = Slow("gold")
    room.unanswered = 0 if taken == "first" else (4 if silent else 2) - 1
    served = replace(LOST, epoch=2, dispatch_id=f"AD_{room.unanswered + 2}")
    keeper = Recovery(
        cast(api.LiveKitAPI, room),
        MemoryStore(),
        supersede,
        lambda _: Known(served) if room.told else None,
        AlwaysLeading(),
    )

    assert await keeper.run(LOST, silent=silent) is Result.RECOVERED
    assert len({request.metadata for request in room.created}) == 1, "the next epoch would supersede the agent"
    assert list(room.dispatches) == [served.dispatch_id]
    assert room.abandoned == 0, "each would cost a connection to LiveKit"


@pytest.mark.parametrize("silent", [True, False])
async def test_while_livekit_does_not_answer_agents_are_sent_and_known_by_their_tethers(
    monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    class Mute(Room):
        async def get_dispatch(self, dispatch: str, room: str) -> api.AgentDispatch | None:
            if dispatch != LOST.dispatch_id:
                await asyncio.Event().wait()
            return await super().get_dispatch(dispatch, room)

    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.1)
    monkeypatch.setattr(recovery, "GIVE_UP_SECONDS", 3.0)
    room = Mute("gold")
    at_once = 6 if silent else 2
    served = replace(LOST, epoch=2, dispatch_id="AD_2")
    keeper = Recovery(
        cast(api.LiveKitAPI, room), MemoryStore(), supersede, room.tethers(served, after=at_once), AlwaysLeading()
    )

    assert await keeper.run(LOST, silent=silent) is Result.RECOVERED
    assert (len(room.created), list(room.dispatches)) == (at_once, ["AD_2"])


@pytest.mark.parametrize("fails", [True, False], ids=["LiveKit fails", "no job is told of"])
async def test_an_agent_that_says_in_the_room_that_it_has_the_call_is_not_ended(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """It was in the room before, and is tethered elsewhere."""
    attributes = {EPOCH_ATTRIBUTE: "2", CALLER_ATTRIBUTE: "caller"}

    class Untold(Room):
        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            if self.created and fails:
                raise api.TwirpError(api.TwirpErrorCode.UNAVAILABLE, "not now", status=503)
            self.agents[0].attributes.update(attributes)
            return await super().create_dispatch(request)

    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.02)
    monkeypatch.setattr(recovery, "GIVE_UP_SECONDS", 1.0)
    room = Untold("gold")
    room.unanswered = 99
    room.agents = [ParticipantInfo(identity="agent-2", kind=ParticipantInfo.Kind.AGENT)]
    keeper = Recovery(cast(api.LiveKitAPI, room), MemoryStore(), supersede, lambda _: None, AlwaysLeading())

    assert await keeper.run(LOST) is Result.RECOVERED
    assert "AD_2" in room.dispatches


async def test_an_agent_that_is_tethered_outlives_the_keeper_that_sends_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Stuck(Room):
        def __init__(self) -> None:
            super().__init__("gold")
            self.stuck = asyncio.Event()

        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            if self.created:
                self.stuck.set()
                await asyncio.Event().wait()
            return await super().create_dispatch(request)

    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.02)
    room, served = Stuck(), replace(LOST, epoch=2, dispatch_id="AD_2")
    room.unanswered = 99
    keeper = Recovery(
        cast(api.LiveKitAPI, room),
        MemoryStore(),
        supersede,
        lambda _: Known(served) if room.stuck.is_set() else None,
        AlwaysLeading(),
    )
    running = asyncio.create_task(keeper.run(LOST))
    async with asyncio.timeout(5):
        await room.stuck.wait()
    running.cancel()
    await asyncio.wait([running])
    assert "AD_2" in room.dispatches


async def test_where_no_pod_has_a_free_slot_the_try_is_over_when_its_time_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Room):
        def __init__(self) -> None:
            super().__init__("gold")
            self.made, self.deleted = list[float](), list[float]()

        async def create_dispatch(self, request: api.CreateAgentDispatchRequest) -> api.AgentDispatch:
            self.made.append(time.monotonic())
            return await super().create_dispatch(request)

        async def delete_dispatch(self, dispatch: str, room: str) -> None:
            self.deleted.append(time.monotonic())
            await super().delete_dispatch(dispatch, room)

    monkeypatch.setattr(sending, "ASSIGNED_WITHIN_SECONDS", 0.2)
    room = Full()
    room.unanswered = 99
    errand = Errand(kind=Kind.RECOVERY, caller="caller", epoch=2)
    trial = sending.Sending(cast(api.LiveKitAPI, room), lambda _: None, AlwaysLeading(), LOST, errand, frozenset())

    with pytest.raises(sending.NoAgentError, match="no pod has a free slot"):
        await trial.run(silent=False)
    first, second = room.made
    assert 0.09 < second - first < 0.5
    assert 0.19 < room.deleted[0] - first < 1.0
    assert list(room.dispatches) == ["AD_1"]
