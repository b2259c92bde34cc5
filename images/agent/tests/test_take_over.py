"""What a successor does that is given no model which it reaches, or is not given the call: its predecessor is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from livekit import rtc

from voice_agent.call import control, entrance, recovery, session
from voice_agent.call.errand import Errand, Kind
from voice_agent.call.fence import CALLER_ATTRIBUTE, EPOCH_ATTRIBUTE
from voice_agent.call.handover.take import GoneError, TakeError
from voice_agent.call.handover.wire import Introduction
from voice_agent.call.live import Call, path_of
from voice_agent.call.recovery import Claim, Fresh
from voice_agent.call.snapshot import AgentState, CallIdentity, Snapshot
from voice_agent.settings import Settings
from voice_agent.telemetry import metrics
from voice_agent.tether.wire import Ending

CALL = CallIdentity(room="room", room_sid="RM_1", caller="caller", epoch=2)
ERRAND = Errand(kind=Kind.HANDOVER, caller="caller", epoch=3, predecessor="before", nonce="n")
NOW = datetime.now(UTC)


class Clerk:
    """The agent that is active."""


def snapshot_of(path: str) -> Snapshot:
    agent = AgentState(path=path, instructions="", chat={"items": []})
    return Snapshot(call=CALL, agent=agent, began_at=NOW, written_at=NOW)


KEPT = snapshot_of(path_of(cast(Any, Clerk())))


class Successor:
    """A job whose predecessor leaves before it has given the call.

    Attributes:
        keepers_give: the epochs that the keepers answer with, one after the other, and then the last again.
        kept: what they have kept of the call.
        claims: how often they were asked for an epoch.
        went_on: with which epoch and snapshot.
        left: for which reason.
        deleted: dispatches.
        tidied: with which epoch it had what the agent before has left deleted.
        superseded: whether another agent turns out to have the call when this one says that it has.
        alone_from_the_start: whether the predecessor has left before it was met.
    """

    def __init__(self, patch: pytest.MonkeyPatch, settings: Settings) -> None:
        self.keepers_give: list[int | None] = [4]
        self.kept: Snapshot | Fresh = KEPT
        self.claims = 0
        self.went_on: list[tuple[int, Snapshot]] = []
        self.left: list[str] = []
        self.deleted: list[str] = []
        self.tidied: list[int] = []
        self.superseded = self.alone_from_the_start = False
        self.people = {"caller": SimpleNamespace(identity="caller", kind=rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD)}
        self.room = SimpleNamespace(
            remote_participants=self.people, connection_state=rtc.ConnectionState.CONN_CONNECTED
        )
        context = SimpleNamespace(
            room=self.room,
            job=SimpleNamespace(id="AJ_2", dispatch_id="AD_2"),
            proc=None,
            shutdown=lambda reason: self.left.append(reason),
        )
        self.call = SimpleNamespace(
            context=context, identity=CALL, is_running=True, model=None, ending=None, agent=Clerk()
        )
        patch.setattr(session, "prepared", lambda _: SimpleNamespace(settings=settings, control=""))
        patch.setattr(session, "Taking", lambda *_: self)
        patch.setattr(session, "Call", lambda *_: self.call)
        for name in ("describe", "agent_session", "agent_at"):
            patch.setattr(session, name, lambda *_, **__: None)
        patch.setattr(session, "_tidy_later", lambda *_: self.tidied.append(self.call.identity.epoch))
        for name in ("talk", "tether"):
            patch.setattr(session, name, _nothing)
        patch.setattr(session, "announce", self._announce)
        patch.setattr(session, "_revive", self._go_on)
        patch.setattr(session, "_delete_dispatch", self._delete)
        patch.setattr(session, "LOST_POLL_SECONDS", 0.01)
        patch.setattr(entrance, "be_silent", lambda _: None)
        patch.setattr(control, "tell_counts", _nothing)
        patch.setattr(recovery, "claim_lost", self._claim)
        patch.setattr(recovery, "fetch", self._fetch)

    async def come(self) -> None:
        """Take the call over, as far as there is something to take."""
        context, caller = cast(Any, self.call.context), cast(Any, SimpleNamespace(identity="caller"))
        await session._take_over(context, caller, ERRAND, cast(Any, None))

    async def meet(self) -> Introduction:
        """The predecessor's answer."""
        if self.alone_from_the_start:
            raise GoneError("the agent that called for a successor is gone")
        return Introduction(call=CALL, agent=KEPT.agent.path, dispatch="AD_1")

    async def take(self) -> tuple[Snapshot, float]:
        """It gives nothing any more."""
        raise GoneError("take: the agent before has left")

    def an_agent_has_it(self, epoch: int) -> None:
        """Have another agent in the room that says so."""
        kind, attributes = rtc.ParticipantKind.PARTICIPANT_KIND_AGENT, {EPOCH_ATTRIBUTE: str(epoch)}
        attributes[CALLER_ATTRIBUTE] = "caller"
        self.people["agent"] = SimpleNamespace(identity="agent", kind=kind, attributes=attributes)

    async def _claim(self, call: CallIdentity, above: int, _: Settings) -> int | None:
        assert (call, above) == (CALL, 2)
        self.claims += 1
        return self.keepers_give.pop(0) if len(self.keepers_give) > 1 else self.keepers_give[0]

    async def _announce(self, call: Call) -> None:
        if self.superseded:
            call.ending = Ending.SUPERSEDED

    async def _delete(self, _: object, dispatch: str) -> None:
        self.deleted.append(dispatch)

    async def _fetch(self, call: CallIdentity, _: Settings) -> Snapshot | Fresh:
        assert call == CALL
        return self.kept

    async def _go_on(self, call: Call, fence: object, keeping: object, snapshot: Snapshot, *, gone_at: float) -> None:
        self.went_on.append((call.identity.epoch, snapshot))


async def _nothing(*_: object) -> None: ...


@pytest.fixture
def successor(monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]) -> Successor:
    return Successor(monkeypatch, make_settings())


async def test_a_successor_goes_on_with_the_call_of_an_agent_that_died_before_it_gave_it(successor: Successor) -> None:
    await successor.come()
    assert successor.went_on == [(4, KEPT)]
    assert not successor.left
    assert not successor.deleted
    assert successor.tidied == [4]


async def test_one_that_finds_another_with_the_call_leaves_it_everything(successor: Successor) -> None:
    successor.superseded = True
    await successor.come()
    # It may have come by the dispatch of the agent before, and be ended with that.
    assert not successor.tidied
    assert not successor.went_on


async def test_one_that_has_never_met_the_agent_before_leaves(successor: Successor) -> None:
    successor.alone_from_the_start = True
    await successor.come()
    assert successor.claims == 0
    assert (successor.left, successor.deleted) == (["call not taken over"], ["AD_2"])


async def test_it_asks_again_until_the_keepers_have_seen_that_the_agent_is_gone(successor: Successor) -> None:
    successor.keepers_give = [None, None, 3]
    await successor.come()
    assert successor.went_on == [(3, KEPT)]


async def test_a_call_that_no_keeper_takes_for_lost_is_left_alone(
    successor: Successor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOST_WITHIN_SECONDS", 1.0)
    successor.keepers_give = [None]
    await successor.come()
    assert successor.claims > 1
    assert not successor.went_on
    assert successor.left == ["call not taken over"]


def _has_lost_the_room(successor: Successor) -> None:
    successor.room.connection_state = rtc.ConnectionState.CONN_RECONNECTING


def _finds_the_session_over(successor: Successor) -> None:
    successor.call.is_running = False


def _finds_the_caller_away(successor: Successor) -> None:
    successor.people.clear()


def _finds_another_agent(successor: Successor) -> None:
    successor.an_agent_has_it(3)


def _finds_nothing_kept(successor: Successor) -> None:
    successor.kept = Fresh.NONE_KEPT


def _was_made_for_another_agent(successor: Successor) -> None:
    successor.kept = snapshot_of("shop:Cashier")


@pytest.mark.parametrize(
    "hindered",
    [
        _has_lost_the_room,
        _finds_the_session_over,
        _finds_the_caller_away,
        _finds_another_agent,
        _finds_nothing_kept,
        _was_made_for_another_agent,
    ],
)
async def test_one_that_cannot_go_on_takes_no_epoch(
    successor: Successor, hindered: Callable[[Successor], None]
) -> None:
    hindered(successor)
    await successor.come()
    # The agent that the keepers send has a lower one, and would leave.
    assert successor.claims == 0
    assert successor.left == ["call not taken over"]
    assert successor.deleted == ["AD_2"]


async def test_an_agent_that_livekit_sends_by_itself_knows_how_many_have_died_of_the_call(
    monkeypatch: pytest.MonkeyPatch, make_settings: Callable[..., Settings]
) -> None:
    restored: list[int] = []

    async def restore(*_: object, deaths: int) -> None:
        restored.append(deaths)

    async def claim(*_: object) -> Claim:
        return Claim(4, deaths=3)

    async def caller() -> Any:
        return SimpleNamespace(identity="caller")

    monkeypatch.setattr(session, "prepared", lambda _: SimpleNamespace(settings=make_settings()))
    monkeypatch.setattr(session, "_restore", restore)
    monkeypatch.setattr(recovery, "claim", claim)
    room = SimpleNamespace(name="room", remote_participants={})
    job = SimpleNamespace(room=SimpleNamespace(sid="RM_1"), metadata="")
    context = SimpleNamespace(room=room, job=job, proc=None, wait_for_participant=caller)
    await session._begin(cast(Any, context), cast(Any, None))
    assert restored == [3]


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
