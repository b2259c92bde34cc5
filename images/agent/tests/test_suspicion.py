"""The keeper's judgement: which calls it takes for lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import api

from voice_agent.keeper.fleet import Fleet
from voice_agent.keeper.rooms import AT_A_TIME
from voice_agent.keeper.suspicion import TOGETHER_SECONDS, Suspicion
from voice_agent.tether.server import Sight
from voice_agent.tether.wire import Loss, Tethered


def a_call(number: int, *, pod: str = "one", node: str = "node", epoch: int = 1) -> Tethered:
    return Tethered(
        room=f"room-{number}",
        room_sid=f"RM_{number}",
        caller="caller",
        epoch=epoch,
        job_id=f"AJ_{number}_{epoch}",
        dispatch_id=f"AD_{number}",
        pod=pod,
        node=node,
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
        answering: Iterable[Tethered] = (),
        unanswered: Iterable[Tethered] = (),
        *,
        livekit_answers: bool = True,
    ) -> None:
        self._livekit_answers = livekit_answers
        self._unanswered = frozenset(unanswered)
        self._answering = frozenset(answering)
        self._seen = None if seen is None else frozenset((call.call, call.epoch) for call in seen)
        self._living = None if living is None else frozenset(living)
        self._in_room = in_room
        self.room = self

    async def leads(self) -> bool:
        return False

    async def answering(self, calls: Iterable[Tethered]) -> frozenset[Tethered]:
        return self._answering & frozenset(calls)

    def unanswered(self, call: Tethered) -> bool:
        return call in self._unanswered

    async def tethered(self) -> frozenset[tuple[str, int]] | None:
        return self._seen

    async def living(self) -> frozenset[str] | None:
        return self._living

    async def list_rooms(self, _: api.ListRoomsRequest) -> None:
        if not self._livekit_answers:
            raise TimeoutError

    async def list_participants(self, request: api.ListParticipantsRequest) -> Any:
        if self._in_room is None:
            raise TimeoutError
        identities = [call.agent_identity for call in self._in_room if call.room == request.room]
        return SimpleNamespace(participants=[SimpleNamespace(identity=identity) for identity in identities])


class Judge:
    """One keeper that looks at its losses again and again; what is not lost is steady, unless it falters."""

    def __init__(self, fleet: Fleet, witnesses: Witnesses, faltering: Iterable[Tethered] = ()) -> None:
        self.fleet = fleet
        self.faltering = frozenset(faltering)
        self._suspicion = Suspicion(
            fleet, cast(api.LiveKitAPI, witnesses), witnesses, witnesses, witnesses, self._sight
        )

    def _sight(self) -> Sight:
        alive = frozenset(known.call for known in self.fleet.calls if not known.loss)
        return Sight(alive - self.faltering, self.faltering)

    def look(self, already: int = 0) -> list[str]:
        lost = asyncio.run(self._suspicion.really_lost(self.fleet.lost, already))
        return sorted(known.call.room for known in lost)


def judge(fleet: Fleet, witnesses: Witnesses, already: int = 0, faltering: Iterable[Tethered] = ()) -> list[str]:
    return Judge(fleet, witnesses, faltering).look(already)


def a_fleet(
    alive: Iterable[Tethered], lost: Iterable[Tethered], loss: Loss = Loss.CLOSED, clock: list[float] | None = None
) -> Fleet:
    fleet = Fleet(clock=lambda: (clock or [0.0])[0])
    for call in [*alive, *lost]:
        fleet.seen(call)
    for call in lost:
        fleet.missed(call, loss)
    return fleet


def test_a_call_that_another_keeper_sees_is_not_lost() -> None:
    calls = [a_call(1), a_call(2)]

    assert judge(a_fleet([a_call(3)], calls), Witnesses(seen=[calls[0]])) == ["room-2"]


@pytest.mark.parametrize("loss", [Loss.SILENT, Loss.CUT_OFF])
def test_a_call_that_may_live_is_not_lost_if_its_agent_answers_in_its_room(loss: Loss) -> None:
    calls = [a_call(1), a_call(2)]

    assert judge(a_fleet([a_call(3)], calls, loss), Witnesses(seen=[], answering=[calls[0]])) == ["room-2"]


@pytest.mark.parametrize("alive", [[a_call(9)], []], ids=["some-in-sight", "none-in-sight"])
def test_agents_that_hear_nothing_from_a_livekit_that_stands_still_are_not_lost(alive: list[Tethered]) -> None:
    calls = [a_call(1), a_call(2)]
    fleet = a_fleet(alive, calls, Loss.CUT_OFF)

    stands_still = Witnesses(seen=alive, living=["one"], in_room=calls, unanswered=calls, livekit_answers=False)
    assert judge(fleet, stands_still) == []
    answers = Witnesses(seen=alive, living=["one"], in_room=calls, unanswered=calls)
    assert judge(fleet, answers) == ["room-1", "room-2"]


def test_agents_of_several_nodes_that_hear_nothing_are_doubted() -> None:
    alive, calls = [a_call(9)], [a_call(1, pod="one", node="a"), a_call(2, pod="two", node="b")]
    fleet = a_fleet(alive, calls, Loss.CUT_OFF)

    assert judge(fleet, Witnesses(seen=alive, living=["one", "two"], in_room=calls), already=1) == []


def test_what_one_keeper_alone_has_lost_is_certain_where_livekit_gets_no_answer_either() -> None:
    alive, lost = [a_call(number) for number in range(10)], [a_call(number, node="other") for number in range(10, 20)]
    fleet = a_fleet(alive, lost, Loss.SILENT)

    assert len(judge(fleet, Witnesses(in_room=lost, unanswered=lost))) == 10
    assert len(judge(fleet, Witnesses(in_room=None, unanswered=lost))) == 4, "LiveKit itself cannot be asked"


def test_after_a_death_nobody_is_asked_in_the_room() -> None:
    dead = a_call(1)

    assert judge(a_fleet([a_call(3)], [dead], Loss.CLOSED), Witnesses(seen=[], answering=[dead])) == ["room-1"]


def test_processes_that_die_together_in_several_pods_are_asked_in_their_rooms() -> None:
    lost = [a_call(1, pod="one"), a_call(2, pod="two"), a_call(3, pod="two")]
    fleet = a_fleet([], lost, Loss.CLOSED)
    pods_live = Witnesses(seen=[], living=["one", "two"], in_room=lost, unanswered=lost[:2])

    assert judge(fleet, pods_live) == ["room-1", "room-2"]


def test_an_agent_that_answers_in_its_room_is_not_lost_though_its_pod_is_not_ready() -> None:
    lost = [a_call(1, pod="one"), a_call(2, pod="two")]

    assert judge(a_fleet([], lost), Witnesses(seen=[], living=[], in_room=lost, answering=lost[:1])) == ["room-2"]


def test_of_what_one_keeper_alone_has_lost_an_agent_that_answers_is_not_in_the_share() -> None:
    lost = [a_call(number, pod=f"pod-{number}") for number in range(10)]
    alive = [a_call(number) for number in range(10, 20)]

    assert judge(a_fleet(alive, lost), Witnesses(in_room=lost, answering=lost[1:])) == ["room-0"]


def test_an_older_agent_of_the_call_that_another_keeper_sees_does_not_count() -> None:
    assert judge(a_fleet([a_call(3)], [a_call(1, epoch=2)]), Witnesses(seen=[a_call(1)])) == ["room-1"]


def test_two_keepers_that_see_others_live_are_believed_for_any_number() -> None:
    lost = [a_call(number) for number in range(10)]

    assert len(judge(a_fleet([a_call(20)], lost), Witnesses(seen=[]))) == 10


@pytest.mark.parametrize(("already", "taken"), [(0, 4), (3, 1), (4, 0), (8, 0)])
def test_one_keeper_alone_takes_a_share_at_a_time(already: int, taken: int) -> None:
    lost = [a_call(number, pod=f"pod-{number}") for number in range(10)]
    alive = [a_call(number) for number in range(10, 20)]

    assert len(judge(a_fleet(alive, lost), Witnesses(in_room=lost), already)) == taken


def test_one_keeper_alone_takes_all_that_others_corroborate() -> None:
    lost = [a_call(number, pod="dead") for number in range(10)]
    alive = [a_call(number) for number in range(10, 20)]

    assert len(judge(a_fleet(alive, lost), Witnesses(living=["one"], in_room=lost))) == 10


@pytest.mark.parametrize("nodes", [("a", "b"), ("", "")])
def test_of_closed_connections_two_keepers_are_believed_for_any_number_of_nodes(nodes: tuple[str, str]) -> None:
    lost = [a_call(number, pod=f"pod-{number}", node=nodes[number % 2]) for number in range(10)]

    assert len(judge(a_fleet([a_call(20)], lost), Witnesses(seen=[], in_room=lost))) == 10


@pytest.mark.parametrize("node", ["a", ""])
def test_the_silence_of_one_node_is_believed_at_once(node: str) -> None:
    lost = [a_call(number, pod="dead", node=node) for number in range(10)]
    alive = [a_call(20, pod="other", node=node and "b")]
    nobody_knows_yet = Witnesses(seen=[], living=["dead", "other"], in_room=lost)

    assert len(judge(a_fleet(alive, lost, Loss.SILENT), nobody_knows_yet)) == 10


class Asked(Witnesses):
    """Tells which agents were asked, and which of them before the other keepers answered."""

    def __init__(self, seen: Iterable[Tethered] | None = None, **others: Any) -> None:
        super().__init__(seen=seen, **others)
        self.asked = list[Tethered]()
        self.meanwhile = list[Tethered]()

    async def answering(self, calls: Iterable[Tethered]) -> frozenset[Tethered]:
        calls = list(calls)
        self.asked += calls
        return await super().answering(calls)

    async def tethered(self) -> frozenset[tuple[str, int]] | None:
        before = len(self.asked)
        await asyncio.sleep(0)
        self.meanwhile = self.asked[before:]
        return await super().tethered()


def test_the_other_keepers_and_silent_agents_are_asked_at_the_same_time() -> None:
    lost = [a_call(number, node="gone") for number in range(10)]
    others = Asked(seen=[], in_room=lost)

    assert len(judge(a_fleet([a_call(20)], lost, Loss.SILENT), others)) == 10
    assert set(others.meanwhile) == set(others.asked) == set(lost)


def test_agents_that_lived_at_an_earlier_loss_are_asked_at_the_same_time() -> None:
    living = [a_call(number, node="gone") for number in range(10)]
    others = Asked(seen=living)
    fleet = a_fleet(living, [a_call(20, pod="killed")])
    keeper = Judge(fleet, others)
    assert keeper.look() == ["room-20"]

    for call in living:
        fleet.missed(call, Loss.SILENT)
    keeper.look()

    assert set(others.meanwhile) == set(living)


def test_of_agents_that_other_keepers_tell_of_none_is_asked_again() -> None:
    lost = [a_call(number) for number in range(10)]
    others = Asked(seen=lost)
    keeper = Judge(a_fleet([a_call(20)], lost, Loss.SILENT), others)

    assert [keeper.look() for _ in range(5)] == [[]] * 5
    assert len(others.asked) <= len(lost)


def test_a_keeper_that_is_cut_off_does_not_ask_a_whole_fleet_before_it_hears_the_others() -> None:
    lost = [a_call(number) for number in range(10 * AT_A_TIME)]
    others = Asked(seen=lost)

    assert not judge(a_fleet([], lost, Loss.SILENT), others)
    assert len(others.asked) <= AT_A_TIME


def test_an_agent_that_was_asked_before_livekit_came_back_is_asked_again() -> None:
    class Back(Witnesses):
        """LiveKit, which is back once it is asked for itself."""

        _back = False

        async def list_rooms(self, _: api.ListRoomsRequest) -> None:
            self._back = True

        async def answering(self, calls: Iterable[Tethered]) -> frozenset[Tethered]:
            return await super().answering(calls) if self._back else frozenset()

    silent, cut_off = a_call(1), a_call(2, pod="other")
    fleet = a_fleet([], [silent], Loss.SILENT)
    fleet.seen(cut_off)
    fleet.missed(cut_off, Loss.CUT_OFF)
    everyone = [silent, cut_off]

    assert judge(fleet, Back(in_room=everyone, answering=everyone, unanswered=everyone)) == []


@pytest.mark.parametrize("names", [("a", "b"), ("", "")])
def test_of_the_silence_of_several_nodes_a_share_is_taken_though_two_keepers_agree(names: tuple[str, str]) -> None:
    lost = [a_call(number, pod=f"pod-{number % 2}", node=names[number % 2]) for number in range(10)]
    alive = [a_call(number, pod="other", node="c") for number in range(10, 20)]
    cut_off = Witnesses(seen=alive, living=["pod-0", "pod-1", "other"], in_room=lost)

    assert len(judge(a_fleet(alive, lost, Loss.SILENT), cut_off)) == 4
    assert judge(a_fleet(alive, lost, Loss.SILENT), cut_off, already=4) == []


def test_of_the_silence_of_several_nodes_all_is_taken_that_is_corroborated() -> None:
    a, b, c = a_call(1, pod="a", node="a"), a_call(2, pod="b", node="b"), a_call(3, pod="c", node="c")
    alive = [a_call(number, pod="other", node="d") for number in range(10, 13)]
    api_server_knows_of_a_and_livekit_of_b = Witnesses(seen=alive, living=["b", "c", "other"], in_room=[c])
    fleet = a_fleet(alive, [a, b, c], Loss.SILENT)

    assert judge(fleet, api_server_knows_of_a_and_livekit_of_b, already=9) == ["room-1", "room-2"]


def test_closed_connections_are_believed_beside_silent_nodes() -> None:
    fleet = a_fleet([a_call(20, node="d")], [a_call(1, node="a"), a_call(2, node="b")], Loss.SILENT)
    dead = a_call(3, node="c")
    fleet.seen(dead)
    fleet.missed(dead, Loss.CLOSED)
    there = Witnesses(seen=[], living=["one"], in_room=[a_call(1), a_call(2), dead])

    assert judge(fleet, there, already=9) == ["room-3"]


def test_the_rest_of_a_partition_is_not_believed_once_the_other_nodes_calls_are_taken() -> None:
    a, rest = a_call(1, node="a"), [a_call(number, node="b") for number in range(2, 6)]
    alive = [a_call(10, node="c")]
    judging = Judge(a_fleet(alive, [a, *rest], Loss.SILENT), Witnesses(seen=alive, living=["one"], in_room=[a, *rest]))
    assert judging.look() == ["room-1"]

    judging.fleet.seen(a_call(1, node="c", epoch=2))

    assert len(judging.look()) == 1


def test_a_node_that_dies_after_another_is_believed() -> None:
    clock = [0.0]
    first, second = a_call(1, node="a"), [a_call(number, node="b") for number in range(2, 5)]
    alive = [a_call(10, node="c")]
    fleet = a_fleet([*alive, *second], [first], Loss.SILENT, clock)
    judging = Judge(fleet, Witnesses(seen=alive, living=["one"], in_room=[first, *second]))
    assert judging.look() == ["room-1"]

    clock[0] += 2 * TOGETHER_SECONDS
    for call in second:
        fleet.missed(call, Loss.SILENT)

    assert judging.look(already=9) == ["room-1", "room-2", "room-3", "room-4"]


def test_the_first_calls_to_fall_silent_in_a_partition_are_not_taken_for_a_node() -> None:
    a, b = [a_call(number, node="a") for number in range(4)], [a_call(number, node="b") for number in range(4, 8)]
    alive = [a_call(10, node="c")]
    fleet = a_fleet([*b, *alive], a, Loss.SILENT)

    assert len(judge(fleet, Witnesses(seen=[*b, *alive], living=["one"], in_room=a), faltering=b)) == 2


@pytest.mark.parametrize("loss", list(Loss))
def test_keepers_that_are_cut_off_from_all_pods_touch_no_live_call(loss: Loss) -> None:
    lost = [a_call(1, pod="one"), a_call(2, pod="two")]
    agents_are_there = Witnesses(seen=[], living=["one", "two"], in_room=lost)

    assert judge(a_fleet([], lost, loss), agents_are_there) == []


def test_keepers_that_are_being_cut_off_from_all_pods_touch_no_live_call() -> None:
    silent, others = a_call(1, pod="one", node="a"), [a_call(2, pod="two", node="b"), a_call(3, pod="one", node="a")]
    agents_are_there = Witnesses(seen=others, living=["one", "two"], in_room=[silent, *others])

    assert judge(a_fleet(others, [silent], Loss.SILENT), agents_are_there, faltering=others) == []


def test_a_keeper_that_is_cut_off_believes_another_that_is_not() -> None:
    clock = [0.0]
    lost = [a_call(1, node="a"), a_call(2, node="a"), a_call(3, node="b")]
    fleet = a_fleet([], lost, Loss.SILENT, clock)
    the_other_sees_b = Witnesses(seen=[lost[2]], living=["one"], in_room=lost)
    assert judge(fleet, the_other_sees_b) == []

    clock[0] += 1.1

    assert judge(fleet, the_other_sees_b) == ["room-1", "room-2"]


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
