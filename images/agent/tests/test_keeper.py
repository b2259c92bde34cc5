"""The keeper's judgement: which calls it takes for lost, and which pods shall close."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api

from voice_agent.keeper.fleet import Fleet, Known
from voice_agent.keeper.pods import Deletion, FleetPods, Pod, outdated
from voice_agent.keeper.suspicion import Suspicion
from voice_agent.kubernetes import ApiServer
from voice_agent.tether.wire import Ending, Loss, Tethered


def a_call(number: int, *, pod: str = "one", epoch: int = 1) -> Tethered:
    return Tethered(
        room=f"room-{number}",
        room_sid=f"RM_{number}",
        caller="caller",
        epoch=epoch,
        job_id=f"AJ_{number}_{epoch}",
        dispatch_id=f"AD_{number}",
        pod=pod,
        node="node",
        agent_identity=f"agent-{number}-{epoch}",
        agent_name="voice-agent",
    )


class Witnesses:
    """The other keepers, the API server and LiveKit, as they answer; None for one that cannot be asked."""

    def __init__(
        self,
        seen: Iterable[Tethered] | None = None,
        living: Iterable[str] | None = None,
        in_room: Iterable[Tethered] | None = (),
    ) -> None:
        self._seen = None if seen is None else frozenset((call.call, call.epoch) for call in seen)
        self._living = None if living is None else frozenset(living)
        self._in_room = in_room
        self.room = self

    async def tethered(self) -> frozenset[tuple[str, int]] | None:
        return self._seen

    async def living(self) -> frozenset[str] | None:
        return self._living

    async def list_participants(self, request: api.ListParticipantsRequest) -> Any:
        if self._in_room is None:
            raise TimeoutError
        identities = [call.agent_identity for call in self._in_room if call.room == request.room]
        return SimpleNamespace(participants=[SimpleNamespace(identity=identity) for identity in identities])


def judge(fleet: Fleet, witnesses: Witnesses, already: int = 0) -> list[str]:
    suspicion = Suspicion(fleet, cast(api.LiveKitAPI, witnesses), witnesses, witnesses)
    lost = asyncio.run(suspicion.really_lost(fleet.lost, already))
    return [known.call.room for known in lost]


def a_fleet(alive: Iterable[Tethered], lost: Iterable[Tethered], loss: Loss = Loss.CLOSED) -> Fleet:
    fleet = Fleet()
    for call in [*alive, *lost]:
        fleet.seen(call)
    for call in lost:
        fleet.missed(call, loss)
    return fleet


def test_a_call_that_another_keeper_sees_is_not_lost() -> None:
    calls = [a_call(1), a_call(2)]

    assert judge(a_fleet([a_call(3)], calls), Witnesses(seen=[calls[0]])) == ["room-2"]


def test_an_older_agent_of_the_call_that_another_keeper_sees_does_not_count() -> None:
    assert judge(a_fleet([a_call(3)], [a_call(1, epoch=2)]), Witnesses(seen=[a_call(1)])) == ["room-1"]


def test_two_keepers_that_see_others_live_are_believed_for_any_number() -> None:
    lost = [a_call(number) for number in range(10)]

    assert len(judge(a_fleet([a_call(20)], lost), Witnesses(seen=[]))) == 10


@pytest.mark.parametrize(("already", "taken"), [(0, 4), (3, 1), (4, 0), (8, 0)])
def test_one_keeper_alone_takes_a_share_at_a_time(already: int, taken: int) -> None:
    lost = [a_call(number, pod=f"pod-{number}") for number in range(10)]
    alive = [a_call(number) for number in range(10, 20)]

    assert len(judge(a_fleet(alive, lost), Witnesses(), already)) == taken


@pytest.mark.parametrize("loss", list(Loss))
def test_keepers_that_are_cut_off_from_all_pods_touch_no_live_call(loss: Loss) -> None:
    lost = [a_call(1, pod="one"), a_call(2, pod="two")]
    agents_are_there = Witnesses(seen=[], living=["one", "two"], in_room=lost)

    assert judge(a_fleet([], lost, loss), agents_are_there) == []


def test_nobody_who_could_tell_means_no_call_is_touched() -> None:
    lost = [a_call(1, pod="one"), a_call(2, pod="two")]

    assert judge(a_fleet([], lost), Witnesses(in_room=None)) == []


def test_the_api_server_tells_that_a_pod_is_gone() -> None:
    lost = [a_call(1, pod="one"), a_call(2, pod="two")]

    assert judge(a_fleet([], lost), Witnesses(living=["one"], in_room=lost)) == ["room-2"]


def test_livekit_tells_that_an_agent_is_gone() -> None:
    lost = [a_call(1, pod="one"), a_call(2, pod="two")]

    assert judge(a_fleet([], lost), Witnesses(living=["one", "two"], in_room=lost[:1])) == ["room-2"]


def test_the_only_pods_death_is_believed_at_once() -> None:
    lost = [a_call(1), a_call(2)]

    assert judge(a_fleet([], lost), Witnesses(living=["one"], in_room=lost)) == ["room-1", "room-2"]


def test_of_a_pod_that_only_falls_silent_it_is_not() -> None:
    lost = [a_call(1), a_call(2)]

    assert judge(a_fleet([], lost, Loss.SILENT), Witnesses(living=["one"], in_room=lost)) == []


def test_the_agent_with_the_highest_epoch_has_the_call() -> None:
    fleet = a_fleet([a_call(1, epoch=2, pod="two")], [])

    fleet.missed(a_call(1), Loss.CLOSED)
    assert not fleet.lost
    fleet.ended(a_call(1), Ending.HANDED_OVER)
    assert [known.call.pod for known in fleet.calls] == ["two"]


def test_a_call_that_was_lost_is_found_again() -> None:
    fleet = a_fleet([], [a_call(1)])

    fleet.seen(a_call(1))

    assert fleet.calls == [Known(a_call(1))]


def test_a_loss_is_as_old_as_its_first_notice() -> None:
    now = [0.0]
    fleet = Fleet(clock=lambda: now[0])
    fleet.seen(a_call(1))
    fleet.missed(a_call(1), Loss.SILENT)
    now[0] = 1.0
    fleet.missed(a_call(1), Loss.CLOSED)

    [known] = fleet.lost
    assert (known.loss, known.lost_at) == (Loss.CLOSED, 0.0)


OLD, OLDER, NEW, STARTING = Pod("old", 2, True), Pod("older", 1, True), Pod("new", 3, True), Pod("new-2", 3, False)


@pytest.mark.parametrize(
    ("pods", "calls", "closed"),
    [
        ([OLD, OLDER], {}, {"older"}),
        ([OLD, NEW, STARTING], {"new": 3}, {"old"}),
        ([OLD, NEW, STARTING], {"new": 4}, set()),
        ([OLD, STARTING], {}, set()),
        ([NEW, STARTING], {}, set()),
        ([], {}, set()),
    ],
)
def test_older_pods_close_while_newer_ones_have_room(pods: list[Pod], calls: dict[str, int], closed: set[str]) -> None:
    assert outdated(pods, calls, slots=4) == closed


class Api:
    """The API server with one pod that lives and one that is being deleted."""

    namespace = "calls"

    async def request(
        self, method: str, path: str, body: object = None, params: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        if path.endswith("/replicasets"):
            return 200, {"items": []}
        deleted = {"name": "leaving", "deletionTimestamp": "2026-11-24T13:00:25Z", "deletionGracePeriodSeconds": 25}
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        return 200, {
            "items": [{"metadata": {"name": "staying"}, "status": status}, {"metadata": deleted, "status": status}]
        }


async def test_a_pod_that_is_deleted_is_of_the_fleet_no_more_but_its_deletion_is_known() -> None:
    pods = FleetPods(cast(ApiServer, Api()), "app=worker")

    assert await pods.living() == frozenset({"staying"})
    assert await pods.deletion("staying") is None
    assert await pods.deletion("leaving") == Deletion(25, datetime(2026, 11, 24, 13, 0, 25, tzinfo=UTC))


def test_a_deleted_pod_has_the_time_until_it_is_due() -> None:
    assert 20 < Deletion(25, datetime.now(UTC) + timedelta(seconds=24)).seconds_left <= 24
