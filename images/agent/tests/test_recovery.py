"""A call whose agent is gone: which epoch its next one has, and why its conversation begins anew."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet
from pydantic import JsonValue, TypeAdapter

from voice_agent.call.recovery import Fresh, HeldError, claim, fetch
from voice_agent.call.snapshot import AgentState, CallIdentity, Snapshot
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
    assert await claim(CALL, make_settings()) == 1


@pytest.mark.parametrize(
    ("known", "claimed", "epoch"),
    [
        (Epoch(epoch=0, held=False), Epoch(epoch=0, held=True), 1),
        (Epoch(epoch=1, held=False), Epoch(epoch=4, held=False), 4),
        (Epoch(epoch=3, held=False), Epoch(epoch=0, held=False), 4),
    ],
    ids=["new", "known", "known, and then no keeper answers"],
)
async def test_the_epoch_of_an_agent_without_an_errand(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, known: Epoch, claimed: Epoch, epoch: int
) -> None:
    keepers_know(monkeypatch, known, claimed)
    assert await claim(CALL, settings) == epoch


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
