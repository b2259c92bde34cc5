"""What the keeper tells people of the fleet: the calls, how they came to their pods, the pods."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from livekit import api

from voice_agent.keeper.alone import AlwaysLeading, NoPeers, UnknownPods
from voice_agent.keeper.brain import Brain
from voice_agent.keeper.calls import text
from voice_agent.keeper.fleet import Fleet, Known, Move
from voice_agent.keeper.reach import Reach
from voice_agent.keeper.relapses import LASTS_SECONDS
from voice_agent.keeper.routes import CALLS_PATH, Routes
from voice_agent.state.memory import MemoryStore
from voice_agent.tether.auth import SharedSecret
from voice_agent.tether.server import TetherServer
from voice_agent.tether.wire import CUT_OFF, LEAVING, RESTORING, Ending, Loss, Tethered

FIRST = Tethered("room", "RM_1", "caller", 1, "AJ_1", "AD_1", "one", "node", "agent-1", "voice-agent")
NEXT = Tethered("room", "RM_1", "caller", 2, "AJ_2", "AD_2", "two", "node", "agent-2", "voice-agent")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet(clock: Clock) -> Fleet:
    fleet = Fleet(clock)
    fleet.seen(FIRST)
    return fleet


def move_of(fleet: Fleet) -> Move | None:
    [known] = fleet.calls
    return known.move


def test_a_call_that_stays_has_not_moved(fleet: Fleet) -> None:
    fleet.missed(FIRST, Loss.CLOSED)
    fleet.seen(FIRST)
    assert move_of(fleet) is None


def test_a_handover_whose_successor_is_seen_first_took_no_time(fleet: Fleet, clock: Clock) -> None:
    fleet.seen(NEXT)
    clock.now += 0.4
    fleet.ended(FIRST, Ending.HANDED_OVER)
    assert move_of(fleet) == Move("room", "one", "two", "handover", at=100.0)


def test_a_handover_took_the_time_from_the_goodbye_to_the_successor(fleet: Fleet, clock: Clock) -> None:
    fleet.ended(FIRST, Ending.HANDED_OVER)
    clock.now += 0.5
    fleet.seen(NEXT)
    assert move_of(fleet) == Move("room", "one", "two", "handover", at=100.5, seconds=0.5)


@pytest.mark.parametrize("loss", list(Loss))
def test_a_recovery_took_the_time_from_the_first_notice_of_the_loss(fleet: Fleet, clock: Clock, loss: Loss) -> None:
    fleet.missed(FIRST, loss)
    clock.now += 1.0
    fleet.missed(FIRST, loss)
    clock.now += 1.0
    fleet.seen(NEXT)
    assert move_of(fleet) == Move("room", "one", "two", str(loss), at=102.0, seconds=2.0)


def test_an_agent_that_took_the_call_unasked_is_no_handover(fleet: Fleet) -> None:
    fleet.seen(NEXT)
    fleet.ended(FIRST, Ending.SUPERSEDED)
    assert move_of(fleet) == Move("room", "one", "two", "other", at=100.0)


def test_it_is_known_by_which_dispatch_an_agent_came_that_left_for_another(fleet: Fleet) -> None:
    fleet.seen(NEXT)
    assert not fleet.gave_way(FIRST.dispatch_id)
    fleet.ended(FIRST, Ending.SUPERSEDED)
    assert fleet.gave_way(FIRST.dispatch_id)
    assert not fleet.gave_way(NEXT.dispatch_id)


def test_a_move_is_remembered_while_its_call_is_lost_and_found_again(fleet: Fleet) -> None:
    fleet.missed(FIRST, Loss.CLOSED)
    fleet.seen(NEXT)
    moved = move_of(fleet)
    fleet.missed(NEXT, Loss.SILENT)
    assert move_of(fleet) == moved
    fleet.seen(NEXT)
    assert move_of(fleet) == moved


@pytest.mark.parametrize("seen_first", ["stays", "leaves"])
def test_of_two_agents_with_one_epoch_the_keeper_counts_the_one_that_stays(fleet: Fleet, seen_first: str) -> None:
    leaves, stays = replace(NEXT, agent_identity="agent-a", pod="a"), replace(NEXT, agent_identity="agent-b", pod="b")
    fleet.missed(FIRST, Loss.CLOSED)
    for each in (stays, leaves) if seen_first == "stays" else (leaves, stays):
        fleet.seen(each)
    assert [known.call for known in fleet.calls] == [stays]
    fleet.ended(leaves, Ending.SUPERSEDED)
    fleet.missed(leaves, Loss.CLOSED)
    assert [(known.call, known.loss) for known in fleet.calls] == [(stays, None)]
    moved = move_of(fleet)
    assert moved is not None
    assert (moved.source, moved.target) == ("one", "b")


def test_of_two_agents_with_one_epoch_one_that_is_gone_gives_way(fleet: Fleet) -> None:
    gone, goes_on = replace(NEXT, agent_identity="agent-b"), replace(NEXT, agent_identity="agent-a")
    fleet.seen(gone)
    fleet.missed(gone, Loss.CLOSED)
    fleet.seen(goes_on)
    fleet.missed(gone, Loss.CLOSED)
    assert [(known.call, known.loss) for known in fleet.calls] == [(goes_on, None)]


def test_the_last_moves_of_calls_that_are_over_are_kept(fleet: Fleet) -> None:
    for number in range(25):
        room = f"RM_{number}"
        before, after = (Tethered(f"room-{number}", room, *rest(call)) for call in (FIRST, NEXT))
        fleet.seen(before)
        fleet.missed(before, Loss.CLOSED)
        fleet.seen(after)
        fleet.ended(after, Ending.CALLER_LEFT)
    assert [move.room for move in fleet.past_moves] == [f"room-{number}" for number in range(24, 4, -1)]


def rest(call: Tethered) -> tuple[Any, ...]:
    return tuple(getattr(call, name) for name in list(Tethered.__dataclass_fields__)[2:])


def test_the_agent_with_the_highest_epoch_has_the_call(fleet: Fleet) -> None:
    fleet.seen(NEXT)

    fleet.missed(FIRST, Loss.CLOSED)
    assert not fleet.lost
    fleet.ended(FIRST, Ending.HANDED_OVER)
    assert [known.call for known in fleet.calls] == [NEXT]


def test_a_call_that_was_lost_is_found_again(fleet: Fleet) -> None:
    fleet.missed(FIRST, Loss.CLOSED)
    fleet.seen(FIRST)

    assert fleet.calls == [Known(FIRST)]


def test_a_loss_is_as_old_as_its_first_notice(fleet: Fleet, clock: Clock) -> None:
    first_notice = clock.now
    fleet.missed(FIRST, Loss.SILENT)
    clock.now += 1.0
    fleet.missed(FIRST, Loss.CLOSED)

    [known] = fleet.lost
    assert (known.loss, known.lost_at) == (Loss.CLOSED, first_notice)


@pytest.mark.parametrize("ending", list(Ending))
def test_a_call_is_over_when_its_agent_wished_so(fleet: Fleet, clock: Clock, ending: Ending) -> None:
    fleet.ended(FIRST, ending)

    assert fleet.is_over("AD_1") == (ending is Ending.FINISHED)
    clock.now += 2 * 3600.0
    fleet.ended(replace(NEXT, room_sid="RM_2"), Ending.FINISHED)
    assert not fleet.is_over("AD_1")


@pytest.mark.parametrize("ending", list(Ending))
def test_it_is_known_which_agent_has_left_because_its_caller_had_and_when(
    fleet: Fleet, clock: Clock, ending: Ending
) -> None:
    fleet.ended(FIRST, ending)
    clock.now += 7.0

    assert fleet.left("AD_1") == ((FIRST, 7.0) if ending is Ending.CALLER_LEFT else None)
    assert fleet.left("AD_2") is None


def test_a_call_that_goes_on_under_another_name_is_not_over(fleet: Fleet) -> None:
    fleet.ended(FIRST, Ending.FINISHED)

    fleet.seen(replace(FIRST, epoch=2, room_sid="RM_made_anew"))

    assert not fleet.is_over("AD_1")


def test_a_goodbye_without_a_successor_is_forgotten(fleet: Fleet, clock: Clock) -> None:
    fleet.ended(FIRST, Ending.HANDED_OVER)
    clock.now += 1000.0
    assert fleet.lost == []
    fleet.seen(NEXT)
    assert move_of(fleet) is None


def test_a_lost_call_that_goes_on_in_a_room_made_anew_is_known_by_that_name_only(fleet: Fleet) -> None:
    goes_on, brought = replace(NEXT, room_sid="RM_2"), replace(FIRST, room_sid="RM_2")
    fleet.missed(FIRST, Loss.CLOSED)
    fleet.seen(brought)
    assert [known.call for known in fleet.lost] == [FIRST], "the one that the caller's token brought has no memory"
    fleet.seen(goes_on)
    assert fleet.lost == []
    assert [known.call for known in fleet.calls] == [goes_on]


def test_a_call_that_was_lost_long_ago_does_not_hide_the_loss_of_the_callers_next_one(fleet: Fleet) -> None:
    fleet.missed(replace(FIRST, epoch=3), Loss.CLOSED)
    next_call = replace(FIRST, room_sid="RM_2")
    fleet.seen(next_call)
    fleet.missed(next_call, Loss.CLOSED)
    assert {known.call.room_sid for known in fleet.lost} == {FIRST.room_sid, "RM_2"}


def agent(epoch: int) -> Tethered:
    return replace(FIRST, epoch=epoch, agent_identity=f"agent-{epoch}")


def restores(fleet: Fleet, epoch: int) -> Tethered:
    fleet.seen(agent(epoch))
    fleet.said(agent(epoch), {RESTORING: epoch})
    return agent(epoch)


def died(fleet: Fleet) -> int:
    [known] = fleet.calls
    return known.died


def test_agents_that_die_while_they_restore_the_call_or_soon_after_are_counted(fleet: Fleet, clock: Clock) -> None:
    fleet.missed(FIRST, Loss.CLOSED)
    assert died(fleet) == 0, "it had restored nothing"
    fleet.missed(restores(fleet, 2), Loss.CLOSED)
    fleet.missed(restores(fleet, 3), Loss.SILENT)
    fleet.missed(agent(3), Loss.CLOSED)
    assert died(fleet) == 2
    fleet.said(restores(fleet, 4), {})
    clock.now += LASTS_SECONDS - 1
    fleet.missed(agent(4), Loss.CLOSED)
    assert died(fleet) == 3
    fleet.seen(agent(5))
    fleet.missed(agent(5), Loss.CLOSED)
    assert died(fleet) == 3, "it had not begun to"


def test_one_that_stays_ends_the_count(fleet: Fleet, clock: Clock) -> None:
    fleet.missed(restores(fleet, 2), Loss.CLOSED)
    fleet.said(restores(fleet, 3), {})
    clock.now += LASTS_SECONDS
    fleet.missed(agent(3), Loss.CLOSED)
    assert died(fleet) == 0


def test_one_that_is_back_has_not_died(fleet: Fleet) -> None:
    restores(fleet, 2)
    for _ in range(3):
        fleet.missed(agent(2), Loss.SILENT)
        fleet.seen(agent(2))
    assert died(fleet) == 0
    fleet.missed(agent(2), Loss.CLOSED)
    assert died(fleet) == 1


def test_one_that_leaves_alive_has_neither_died_nor_shown_that_another_would_not(fleet: Fleet) -> None:
    fleet.missed(restores(fleet, 2), Loss.CLOSED)
    fleet.said(restores(fleet, 3), {})
    fleet.said(agent(3), {LEAVING: True})
    fleet.missed(agent(3), Loss.CLOSED)
    assert died(fleet) == 1


def test_it_is_known_which_agent_has_left_because_nothing_comes_from_livekit(fleet: Fleet) -> None:
    fleet.seen(agent(2))
    fleet.said(agent(2), {LEAVING: True, CUT_OFF: 2})
    fleet.missed(agent(2), Loss.CLOSED)
    assert [known.loss for known in fleet.lost] == [Loss.CUT_OFF]
    fleet.seen(agent(3))
    assert (move := move_of(fleet)) is not None
    assert move.why == "cut-off"
    fleet.missed(agent(3), Loss.CLOSED)
    assert [known.loss for known in fleet.lost] == [Loss.CLOSED], "that was the one before"


def test_other_callers_of_a_room_are_other_calls(fleet: Fleet) -> None:
    fleet.missed(FIRST, Loss.CLOSED)
    fleet.seen(replace(NEXT, room_sid="RM_2", caller="another"))
    assert [known.call for known in fleet.lost] == [FIRST]


async def test_the_page_and_its_text_show_calls_moves_pods_and_who_leads() -> None:
    store = MemoryStore()
    brain = Brain(cast(api.LiveKitAPI, None), store, AlwaysLeading(), UnknownPods(), NoPeers())
    tethers = TetherServer(store, SharedSecret("shared"), brain)
    brain.on_call(FIRST)
    brain.on_lost(FIRST, Loss.CLOSED)
    brain.on_call(NEXT)
    began = datetime.now(UTC)
    brain.on_state(NEXT, {"agent": "listening", "began_at": began.isoformat()})
    reach = Reach(cast(api.LiveKitAPI, None), AlwaysLeading(), NoPeers().reach_livekit)
    routes = Routes(tethers, brain, AlwaysLeading(), reach, None, 4)
    async with TestClient(TestServer(routes.application())) as client:
        answer = await client.get(CALLS_PATH, headers={"Authorization": "Bearer shared"})
        told = await answer.json()
        brain.on_goodbye(NEXT, Ending.CALLER_LEFT)
        answer = await client.get(CALLS_PATH, headers={"Authorization": "Bearer shared"})
        later = await answer.json()

    assert text(told, began) == (
        "room  caller  pod  epoch  agent      since  last move\n"
        "room  caller  two  2      listening  0 s    0 s ago from one, closed, took 0.0 s\n"
        "1 calls\n"
        "\n"
        "pod  calls  slots\n"
        "two  1      4\n"
        "\n"
        "this keeper leads\n"
    )
    shown = text(later | {"leading": False}, began)
    assert "room  two  0 s ago from one, closed, took 0.0 s" in shown
    assert shown.endswith("this keeper does not lead\n")
