"""Callers without an agent, as LiveKit lists them: which are taken up, and when; time is the test's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, cast

import pytest
from livekit import api
from livekit.protocol.agent import Job, JobState, JobStatus
from livekit.protocol.agent_dispatch import AgentDispatchState
from livekit.protocol.models import ParticipantInfo, ParticipantPermission
from prometheus_client import REGISTRY

from voice_agent.call.errand import Errand, Kind, write
from voice_agent.keeper import reconciliation
from voice_agent.keeper.reconciliation import LOOK_SECONDS, ROOMS_PER_LOOK, Reconciliation
from voice_agent.tether.wire import Tethered

STANDARD, SIP, AGENT, EGRESS = (
    ParticipantInfo.Kind.STANDARD,
    ParticipantInfo.Kind.SIP,
    ParticipantInfo.Kind.AGENT,
    ParticipantInfo.Kind.EGRESS,
)


def person(identity: str, kind: ParticipantInfo.Kind = STANDARD, joined: int = 0, **more: Any) -> ParticipantInfo:
    return ParticipantInfo(identity=identity, kind=kind, joined_at_ms=joined, **more)


def job(number: int, status: JobStatus = JobStatus.JS_RUNNING) -> Job:
    return Job(id=f"AJ_{number}", state=JobState(status=status, participant_identity=f"agent-{number}"))


def dispatch(*jobs: Job, id: str = "AD_1", name: str = "ours", metadata: str = "", at: int = 1) -> api.AgentDispatch:
    state = AgentDispatchState(jobs=jobs, created_at=at)
    return api.AgentDispatch(id=id, agent_name=name, metadata=metadata, state=state)


class World:
    """LiveKit's rooms; and the keeper, which notes whom it shall take up."""

    def __init__(self, agent_name: str = "ours") -> None:
        self.people: dict[str, list[ParticipantInfo]] = {}
        self.dispatches: dict[str, list[api.AgentDispatch]] = {}
        self.empty: set[str] = set()
        self.requests = 0
        self.broken: set[str] = set()
        self.taken: list[Tethered] = []
        self.known: set[str] = set()
        self.over: set[str] = set()
        self.departed: dict[str, tuple[Tethered, float]] = {}
        self.superseded: set[str] = set()
        self.seen: set[tuple[str, int]] = set()
        self.places = 99
        self.lost: set[str] = set()
        self.leading = True
        self.now = 1000.0
        self.room = self.agent_dispatch = self
        client = cast(api.LiveKitAPI, self)
        self.keeper = Reconciliation(client, agent_name, self, self, self, clock=lambda: self.now)

    async def list_rooms(self, request: api.ListRoomsRequest) -> api.ListRoomsResponse:
        rooms = [
            api.Room(name=name, sid=f"RM_{name}", num_participants=0 if name in self.empty else len(people))
            for name, people in self.people.items()
        ]
        return api.ListRoomsResponse(rooms=rooms)

    async def list_participants(self, request: api.ListParticipantsRequest) -> api.ListParticipantsResponse:
        self.requests += 1
        if request.room in self.broken:
            raise TimeoutError
        return api.ListParticipantsResponse(participants=self.people[request.room])

    async def list_dispatch(self, room: str) -> list[api.AgentDispatch]:
        self.requests += 1
        return self.dispatches.get(room, [])

    async def delete_dispatch(self, dispatch: str, room: str) -> None:
        self.dispatches[room] = [each for each in self.dispatches[room] if each.id != dispatch]

    async def leads(self) -> bool:
        return False

    async def tethered(self) -> frozenset[tuple[str, int]]:
        return frozenset(self.seen)

    def rooms(self) -> frozenset[str]:
        return frozenset(self.known)

    def is_over(self, dispatch: str) -> bool:
        return dispatch in self.over

    def left(self, dispatch: str) -> tuple[Tethered, float] | None:
        agent, at = self.departed.get(dispatch, (None, 0.0))
        return (agent, self.now - at) if agent else None

    def gave_way(self, dispatch: str) -> bool:
        return dispatch in self.superseded

    def is_lost(self, call: Tethered) -> bool:
        return call.room in self.lost

    def recover_found(self, call: Tethered) -> bool:
        if len(self.taken) >= self.places:
            return False
        self.taken.append(call)
        self.known.add(call.room_sid)
        return True

    def passes(self, seconds: float) -> list[str]:
        """Look as often as the keeper does in that time; the rooms whose calls were taken up in it."""
        before = len(self.taken)

        async def look() -> None:
            end = self.now + seconds
            while self.now < end:
                await self.keeper.look()
                self.now += LOOK_SECONDS

        asyncio.run(look())
        return [call.room for call in self.taken[before:]]


@pytest.fixture
def world() -> World:
    """One caller in a room that the fleet's agent was asked for."""
    world = World()
    world.people["one"] = [person("caller")]
    world.dispatches["one"] = [dispatch()]
    return world


def test_a_caller_whom_no_pod_took_is_taken_up_within_seconds_and_once(world: World) -> None:
    assert world.passes(6) == []
    assert world.passes(6) == ["one"]
    assert world.passes(60) == []
    [call] = world.taken
    assert (call.call, call.dispatch_id, call.agent_identity, call.agent_name) == ("RM_one/caller", "AD_1", "", "ours")


def test_a_caller_whose_agent_left_for_one_that_is_gone_is_taken_up(world: World) -> None:
    world.dispatches["one"] = [dispatch(job(1, JobStatus.JS_SUCCESS))]
    assert world.passes(60) == []
    world.superseded = {"AD_1"}
    assert world.passes(60) == ["one"]


def test_a_caller_whose_other_agent_has_ended_the_call_is_left_alone(world: World) -> None:
    gave_way = dispatch(job(2, JobStatus.JS_SUCCESS), id="AD_2", at=2)
    world.dispatches["one"] = [dispatch(job(1, JobStatus.JS_SUCCESS)), gave_way]
    world.superseded, world.over = {"AD_2"}, {"AD_1"}
    assert world.passes(60) == []


@pytest.fixture
def departed(world: World) -> Tethered:
    """The agent whose caller has left it just now, and so it has left, too; who is in the room is up to the test."""
    agent = Tethered("one", "RM_one", "caller", 3, "AJ_1", "AD_1", "pod-1", "node-1", "agent-1", "ours")
    world.dispatches["one"] = [dispatch(job(1, JobStatus.JS_SUCCESS))]
    world.people["one"] = []
    world.departed["AD_1"] = agent, world.now
    return agent


@pytest.mark.parametrize("away", [2, 10, 18], ids=lambda seconds: f"for {seconds + 3} s")
def test_a_caller_who_left_and_is_back_is_taken_up_within_seconds(world: World, departed: Tethered, away: int) -> None:
    assert world.passes(away) == []
    world.people["one"] = [person("caller")]
    assert world.passes(4) == [], "the list of people may be late"
    assert world.passes(2) == ["one"]
    assert world.taken == [departed], "its epoch is what the next agent's must be above"


def test_a_caller_who_is_back_is_told_apart_from_one_whose_agent_has_died(world: World, departed: Tethered) -> None:
    before = found("returned"), found("agent_gone")
    world.people["one"] = [person("caller")]
    world.passes(6)
    assert (found("returned"), found("agent_gone")) == (before[0] + 1, before[1])


def test_a_caller_whose_call_is_known_to_be_lost_is_not_counted_as_found_and_holds_nobody_up(world: World) -> None:
    world.people["two"], world.dispatches["two"] = [person("caller")], [dispatch()]
    world.lost, before = {"one"}, found("unanswered")
    assert world.passes(12) == ["two"]
    assert found("unanswered") == before + 1


def found(why: str) -> float:
    return REGISTRY.get_sample_value("voice_agent_keeper_found_total", {"why": why}) or 0.0


@pytest.mark.usefixtures("departed")
def test_a_list_that_shows_a_caller_for_a_moment_who_has_left_calls_nobody_back(world: World) -> None:
    for _ in range(3):
        world.people["one"] = [person("caller")]
        assert world.passes(4) == []
        world.people["one"] = []
        assert world.passes(2) == []


@pytest.mark.usefixtures("departed")
def test_a_caller_who_is_back_before_the_agent_has_gone_waits_for_that(world: World) -> None:
    world.people["one"] = [person("caller"), person("agent-1", AGENT)]
    assert world.passes(30) == []
    world.people["one"].pop()
    world.keeper.agent_left("RM_one")
    assert world.passes(6) == ["one"]


@pytest.mark.usefixtures("departed")
def test_nobody_who_stays_behind_gets_the_agent_of_a_caller_who_has_left(world: World) -> None:
    world.people["one"] = [person("supervisor")]
    # As LiveKit lists it until it has heard of the job's end.
    world.dispatches["one"] = [dispatch(job(1))]
    assert world.passes(60) == []
    world.departed.clear()
    assert world.passes(60) == [], "a keeper that comes later takes the supervisor for the caller"


@pytest.mark.usefixtures("departed")
def test_a_caller_who_is_back_with_a_supervisor_is_taken_up_as_soon(world: World) -> None:
    world.people["one"] = [person("supervisor")]
    assert world.passes(6) == []
    world.people["one"].append(person("caller"))
    assert world.passes(6) == ["one"]


@pytest.mark.usefixtures("departed")
def test_a_caller_by_telephone_does_not_come_back(world: World) -> None:
    world.people["one"] = [person("caller", SIP)]
    assert world.passes(60) == []


def test_a_caller_who_left_while_the_call_moved_is_taken_up_as_soon(world: World, departed: Tethered) -> None:
    errand = write(Errand(kind=Kind.HANDOVER, caller="caller", epoch=4))
    world.dispatches["one"].append(dispatch(job(2, JobStatus.JS_SUCCESS), id="AD_2", metadata=errand, at=2))
    world.people["one"] = [person("caller")]
    assert world.passes(6) == ["one"]
    assert world.taken == [departed]


@pytest.mark.usefixtures("departed")
def test_whoever_else_waits_in_the_room_is_not_taken_for_the_caller_who_has_left(world: World) -> None:
    errand = write(Errand(kind=Kind.RECOVERY, caller="another", epoch=2))
    world.dispatches["one"].append(dispatch(id="AD_2", metadata=errand, at=2))
    world.people["one"] = [person("another")]
    assert world.passes(12) == ["one"]
    assert world.taken[0].caller == "another"


@pytest.mark.usefixtures("departed")
def test_the_next_agent_has_its_time_to_join_though_the_one_before_has_left(world: World) -> None:
    world.people["one"] = [person("caller")]
    assert world.passes(4) == []
    world.dispatches["one"].append(dispatch(job(2), id="AD_2", at=2))
    assert world.passes(18) == []
    assert world.passes(6) == ["one"]


def test_a_room_that_was_made_anew_is_not_the_one_that_its_caller_left(world: World, departed: Tethered) -> None:
    world.departed["AD_1"] = replace(departed, room_sid="RM_before"), world.now
    world.people["one"] = [person("caller")]
    assert world.passes(60) == []


@pytest.mark.usefixtures("departed")
def test_a_caller_who_came_back_and_whose_next_agent_ended_the_call_is_left_alone(world: World) -> None:
    ended = dispatch(job(2, JobStatus.JS_SUCCESS), id="AD_2", at=2)
    gave_way = dispatch(job(3, JobStatus.JS_SUCCESS), id="AD_3", at=3)
    world.dispatches["one"] += [ended, gave_way]
    world.over, world.superseded = {"AD_2"}, {"AD_3"}
    world.people["one"] = [person("caller")]
    assert world.passes(60) == []


def test_a_job_has_time_to_join(world: World) -> None:
    world.dispatches["one"] = [dispatch(job(1))]

    assert world.passes(18) == []
    assert world.passes(6) == ["one"]
    assert world.taken[0].agent_identity == "agent-1"


def test_a_job_that_is_listed_late_has_its_time_too(world: World) -> None:
    world.passes(6)
    world.dispatches["one"] = [dispatch(job(1))]

    assert world.passes(18) == []


def test_an_agent_that_joins_in_the_end_is_left_alone(world: World) -> None:
    world.passes(6)
    world.people["one"].append(person("agent-1", AGENT))

    assert world.passes(60) == []


def test_a_caller_whose_agent_vanishes_waits_for_seconds_only(world: World) -> None:
    world.dispatches["one"] = [dispatch(job(1))]
    world.people["one"].append(person("agent-1", AGENT))
    assert world.passes(30) == []

    world.people["one"].pop()

    assert world.passes(6) == []
    assert world.passes(10) == ["one"]


def test_a_caller_whose_agent_has_left_as_livekit_tells_waits_for_half_as_long(world: World) -> None:
    world.dispatches["one"] = [dispatch(job(1))]
    world.people["one"].append(person("agent-1", AGENT))
    assert world.passes(30) == []

    world.people["one"].pop()
    world.keeper.agent_left("RM_one")

    assert world.passes(4) == []
    assert world.passes(2) == ["one"]


def test_an_agent_that_has_left_and_come_back_is_there(world: World) -> None:
    world.dispatches["one"] = [dispatch(job(1))]
    agent = person("agent-1", AGENT)
    world.people["one"].append(agent)
    world.passes(2)
    world.keeper.agent_left("RM_one")
    world.passes(6)
    world.people["one"].remove(agent)

    assert world.passes(8) == []


async def test_what_livekit_tells_is_looked_into_at_once(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    monkeypatch.setattr(reconciliation, "LOOK_SECONDS", 60)
    world.people["one"].append(person("agent-1", AGENT))
    looked = asyncio.Event()
    look = world.keeper.look

    async def noted() -> None:
        await look()
        looked.set()

    monkeypatch.setattr(world.keeper, "look", noted)
    running = asyncio.create_task(world.keeper.run())
    try:
        async with asyncio.timeout(10):
            await looked.wait()
            looked.clear()
            world.keeper.agent_left("RM_nobody's")
            world.keeper.agent_left("RM_one")
            await looked.wait()
    finally:
        running.cancel()


def test_an_agent_that_is_away_for_a_moment_is_waited_for_anew(world: World) -> None:
    agent = person("agent-1", AGENT)
    world.dispatches["one"] = [dispatch(job(1))]
    world.people["one"].append(agent)
    for _ in range(5):
        world.people["one"].remove(agent)
        assert world.passes(6) == []
        world.people["one"].append(agent)
        assert world.passes(6) == []


def test_another_job_has_its_own_time(world: World) -> None:
    """LiveKit Cloud asks another worker by itself."""
    world.dispatches["one"] = [dispatch(job(1))]
    world.passes(18)
    world.dispatches["one"] = [dispatch(job(1, JobStatus.JS_FAILED), job(2))]

    assert world.passes(18) == []


def test_rooms_that_others_agents_were_asked_for_are_left_alone(world: World) -> None:
    world.dispatches["one"] = [dispatch(name="theirs", id="AD_2"), dispatch(name="", id="AD_3")]

    assert world.passes(60) == []


def test_a_room_with_an_agent_of_another_name_is_left_alone(world: World) -> None:
    world.people["one"].append(person("theirs", AGENT))

    assert world.passes(60) == []


def test_with_automatic_dispatch_only_rooms_without_an_explicit_one_are_the_fleets() -> None:
    world = World(agent_name="")
    world.people |= {"automatic": [person("caller")], "explicit": [person("caller")]}
    world.dispatches |= {"automatic": [dispatch(name="")], "explicit": [dispatch(name="theirs")]}

    assert world.passes(60) == ["automatic"]


@pytest.mark.parametrize(
    "people",
    [[], [person("recorder", EGRESS)], [person("supervisor", permission=ParticipantPermission(hidden=True))]],
)
def test_a_room_without_a_caller_gets_no_agent(world: World, people: list[ParticipantInfo]) -> None:
    world.people["one"] = [*people]

    assert world.passes(60) == []


def test_the_caller_is_the_first_who_came(world: World) -> None:
    world.people["one"] = [person("later", joined=2), person("phone", SIP, joined=1), person("recorder", EGRESS)]

    world.passes(60)

    assert [call.caller for call in world.taken] == ["phone"]


def test_of_an_agent_that_took_the_call_from_another_the_errand_tells_caller_and_epoch(world: World) -> None:
    errand = write(Errand(kind=Kind.HANDOVER, caller="later", epoch=4))
    world.people["one"] = [person("supervisor", joined=1), person("later", joined=2)]
    world.dispatches["one"] = [dispatch(job(2), id="AD_2", metadata=errand, at=2), dispatch(job(1))]

    world.passes(60)

    assert [(call.caller, call.epoch, call.dispatch_id) for call in world.taken] == [("later", 4, "AD_2")]


def test_if_its_caller_has_left_nobody_else_in_the_room_gets_the_call(world: World) -> None:
    errand = write(Errand(kind=Kind.RECOVERY, caller="gone", epoch=2))
    world.dispatches["one"] = [dispatch(job(2), metadata=errand)]

    assert world.passes(60) == []


def test_a_call_that_its_agent_has_ended_is_over_also_for_keepers_that_come_later(world: World) -> None:
    failed_try = write(Errand(kind=Kind.RECOVERY, caller="caller", epoch=2))
    world.dispatches["one"] = [dispatch(job(1), metadata=failed_try), dispatch(job(2), id="AD_2", at=2)]
    world.over.add("AD_2")
    assert world.passes(60) == []

    world.over.clear()

    assert world.passes(60) == []


def test_a_call_that_was_declined_for_good_is_left_alone(world: World) -> None:
    world.dispatches["one"] = [dispatch(job(1, JobStatus.JS_SUCCESS))]

    assert world.passes(60) == []


def test_a_call_that_a_tether_tells_of_is_not_looked_for(world: World) -> None:
    world.known.add("RM_one")

    assert world.passes(60) == []
    assert world.requests == 0


def test_a_call_that_another_keeper_sees_is_left_alone(world: World) -> None:
    world.seen.add(("RM_one/caller", 3))

    assert world.passes(60) == []


def test_only_the_keeper_that_leads_looks_and_one_that_comes_to_lead_begins_anew(world: World) -> None:
    world.passes(6)
    world.leading = False
    assert world.passes(60) == []
    world.leading = True

    assert world.passes(6) == []
    assert world.passes(6) == ["one"]


def test_who_waits_longest_is_first_when_many_wait(world: World) -> None:
    world.passes(4)
    world.people["two"], world.dispatches["two"] = [person("caller")], [dispatch(id="AD_2")]
    world.places = 1
    assert world.passes(20) == ["one"]

    world.places = 2

    assert world.passes(2) == ["two"]


def test_one_room_that_cannot_be_looked_into_hides_no_other(world: World) -> None:
    world.people["zero"], world.dispatches["zero"] = [person("caller")], [dispatch(id="AD_2")]
    world.broken.add("zero")

    assert world.passes(20) == ["one"]


def test_many_rooms_of_others_neither_load_livekit_nor_delay_who_waits() -> None:
    world = World()
    for number in range(1000):
        world.people[f"theirs-{number}"] = [person("caller"), person("theirs", AGENT)]
    world.passes(2)
    world.requests = 0
    world.passes(20)
    assert world.requests <= 10 * ROOMS_PER_LOOK

    world = World()
    for number in range(100):
        world.people[f"theirs-{number}"] = [person("caller"), person("theirs", AGENT)]
    world.people["one"], world.dispatches["one"] = [person("caller")], [dispatch()]
    assert world.passes(24) == ["one"]


def test_time_in_which_livekit_could_not_be_asked_does_not_count(world: World) -> None:
    world.passes(2)
    world.broken.add("one")
    world.passes(20)
    world.broken.clear()

    assert world.passes(2) == []
    assert world.passes(2) == ["one"]
