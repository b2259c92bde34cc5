"""A call whose agent is gone: which epoch its next one has, and why its conversation begins anew."""

from __future__ import annotations

import time
import zlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography.fernet import Fernet
from pydantic import JsonValue, TypeAdapter

from voice_agent.call.live import Call
from voice_agent.call.recovery import Claim, Fresh, HeldError, claim, claim_lost, fetch, resume
from voice_agent.call.snapshot import AgentState, CallIdentity, Snapshot
from voice_agent.gemini import ModelCheckpoint
from voice_agent.settings import Settings
from voice_agent.state.seal import Seal
from voice_agent.tether.ask import Keepers
from voice_agent.tether.wire import Epoch

KEY, OTHER_KEY = Fernet.generate_key().decode(), Fernet.generate_key().decode()
CALL = CallIdentity(room="room", room_sid="RM_1", caller="caller")
NOW = datetime.now(UTC)
SNAPSHOT = Snapshot(
    call=CALL, agent=AgentState(path="a:B", instructions="", chat={"items": []}), began_at=NOW, written_at=NOW
)

Make = Callable[..., Settings]


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(KEEPER_URL="http://keeper", KEEPER_SECRET="shared", STATE_KEYS=KEY)  # noqa: S106 - none


def keepers_have(monkeypatch: pytest.MonkeyPatch, sealed: bytes | None) -> None:
    async def snapshot(_: Keepers, call: str) -> bytes | None:
        assert call == CALL.key
        return sealed

    monkeypatch.setattr(Keepers, "snapshot", snapshot)


def keepers_know(monkeypatch: pytest.MonkeyPatch, known: Epoch, claimed: Epoch) -> None:
    async def epoch(_: Keepers, call: str) -> Epoch:
        assert call == CALL.key
        return known

    async def take(_: Keepers, call: str, above: int) -> Epoch:
        assert (call, above) == (CALL.key, known.epoch)
        return claimed

    monkeypatch.setattr(Keepers, "epoch", epoch)
    monkeypatch.setattr(Keepers, "claim", take)


def of_version(version: int) -> bytes:
    content = TypeAdapter(dict[str, JsonValue]).validate_json(SNAPSHOT.model_dump_json()) | {"version": version}
    return zlib.compress(TypeAdapter(dict[str, JsonValue]).dump_json(content))


@pytest.mark.parametrize(
    ("sealed", "found"),
    [
        (Seal([KEY]).seal(CALL.key, SNAPSHOT.encode()), SNAPSHOT),
        (Seal([OTHER_KEY]).seal(CALL.key, SNAPSHOT.encode()), Fresh.UNKNOWN_KEY),
        (Seal([KEY]).seal(CALL.key, of_version(2)), Fresh.NEWER),
        (Seal([KEY]).seal(CALL.key, b"no snapshot"), Fresh.BROKEN),
        (None, Fresh.NONE_KEPT),
    ],
)
async def test_a_snapshot_or_why_there_is_none(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, sealed: bytes | None, found: Snapshot | Fresh
) -> None:
    keepers_have(monkeypatch, sealed)
    assert await fetch(CALL, settings) == found


@pytest.mark.parametrize(("deaths", "own"), [(2, {"cart": ["apple"]}), (3, None), (4, None)])
async def test_the_agents_own_state_is_left_out_once_three_have_died_of_the_snapshot(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, deaths: int, own: JsonValue
) -> None:
    kept = SNAPSHOT.agent.model_copy(update={"own": {"cart": ["apple"]}, "instructions": "Be brief."})
    keepers_have(monkeypatch, Seal([KEY]).seal(CALL.key, SNAPSHOT.model_copy(update={"agent": kept}).encode()))
    found = await fetch(CALL, settings, deaths)
    assert isinstance(found, Snapshot)
    assert found.agent == kept.model_copy(update={"own": own})


async def test_a_snapshot_of_which_five_agents_have_died_is_not_restored(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    keepers_have(monkeypatch, Seal([KEY]).seal(CALL.key, SNAPSHOT.encode()))
    assert await fetch(CALL, settings, 5) is Fresh.FATAL


async def test_without_keepers_there_is_no_snapshot_and_every_call_is_new(make_settings: Make) -> None:
    assert await fetch(CALL, make_settings()) is Fresh.NO_KEEPER_URL
    assert await claim(CALL, make_settings()) == Claim(1)
    assert await claim_lost(CALL, 1, make_settings()) is None


@pytest.mark.parametrize(
    ("known", "claimed", "epoch"),
    [
        (Epoch(epoch=0, held=False), Epoch(epoch=0, held=True), 1),
        (Epoch(epoch=1, held=False), Epoch(epoch=4, held=False, died=2), 4),
        (Epoch(epoch=3, held=False), Epoch(epoch=0, held=False), 4),
    ],
    ids=["new", "known", "known, and then no keeper answers"],
)
async def test_the_epoch_of_an_agent_without_an_errand(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, known: Epoch, claimed: Epoch, epoch: int
) -> None:
    keepers_know(monkeypatch, known, claimed)
    assert await claim(CALL, settings) == Claim(epoch, claimed.died)


@pytest.mark.parametrize(
    ("known", "claimed"),
    [
        (Epoch(epoch=1, held=True), Epoch(epoch=2, held=False)),
        (Epoch(epoch=1, held=False), Epoch(epoch=2, held=True)),
    ],
    ids=["before", "meanwhile"],
)
async def test_a_call_that_another_agent_has_is_left_to_it(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, known: Epoch, claimed: Epoch
) -> None:
    keepers_know(monkeypatch, known, claimed)
    with pytest.raises(HeldError):
        await claim(CALL, settings)


@pytest.mark.parametrize(
    ("heard_s", "speaking", "kept"),
    [(9.0, True, b"beginning"), (1.0, True, b""), (1.0, False, b"beginning")],
    ids=["heard all of it", "came too late", "was not in the middle of it"],
)
async def test_the_beginning_of_an_utterance_counts_if_the_rest_was_heard(
    heard_s: float, speaking: bool, kept: bytes
) -> None:
    resumed: list[tuple[ModelCheckpoint, float]] = []
    call = cast("Call", SimpleNamespace(model=SimpleNamespace(heard_s=heard_s), resume=_noting(resumed)))
    model = ModelCheckpoint(pending_audio=b"beginning", recorded_until=time.time() - 4)
    snapshot = SNAPSHOT.model_copy(update={"model": model, "caller_speaking": speaking})
    await resume(call, snapshot, gone_at=time.monotonic())
    [(state, ago)] = resumed
    assert state.pending_audio == kept
    # What was said since is added.
    assert ago == pytest.approx(4, abs=1)


async def test_a_snapshot_is_older_than_its_agents_end_whatever_its_clock_said() -> None:
    resumed: list[tuple[ModelCheckpoint, float]] = []
    call = cast("Call", SimpleNamespace(model=None, resume=_noting(resumed)))
    ahead = ModelCheckpoint(recorded_until=time.time() + 60)
    await resume(call, SNAPSHOT.model_copy(update={"model": ahead}), gone_at=time.monotonic() - 2)
    [(_, ago)] = resumed
    assert ago == pytest.approx(2, abs=1)


def _noting(resumed: list[tuple[ModelCheckpoint, float]]) -> Callable[..., Awaitable[None]]:
    async def take(state: ModelCheckpoint, *, cut: float) -> None:
        resumed.append((state, time.monotonic() - cut))

    return take
