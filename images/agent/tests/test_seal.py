"""Sealed snapshots: readable with any of the keys, by nobody else, and only as the call they belong to."""

from __future__ import annotations

import pytest
from cryptography.fernet import Fernet

from voice_agent.state.seal import Seal, SealError

CALL = "RM_1/caller"
OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def test_what_is_sealed_does_not_show_its_content_and_opens_again() -> None:
    data = b"what was said" * 1000
    sealed = Seal([OLD]).seal(CALL, data)
    assert b"what was said" not in sealed
    assert Seal([OLD]).open(CALL, sealed) == data


def test_keys_rotate_without_losing_the_calls_that_the_old_one_sealed() -> None:
    both = Seal([NEW, OLD])
    assert both.open(CALL, Seal([OLD]).seal(CALL, b"before")) == b"before"
    assert Seal([NEW]).open(CALL, both.seal(CALL, b"after")) == b"after"


@pytest.mark.parametrize("damage", [lambda sealed: sealed[:-9], lambda _: b"", lambda sealed: sealed[::-1]])
def test_what_was_damaged_is_refused(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(SealError, match="damaged"):
        Seal([OLD]).open(CALL, damage(Seal([OLD]).seal(CALL, b"data")))


def test_a_key_that_is_gone_opens_nothing() -> None:
    with pytest.raises(SealError, match="key that is not set"):
        Seal([NEW]).open(CALL, Seal([OLD]).seal(CALL, b"data"))


@pytest.mark.parametrize("other", ["RM_1/callers", "RM_1/calle", "RM_2/caller"])
def test_one_calls_snapshot_is_refused_as_anothers(other: str) -> None:
    with pytest.raises(SealError, match="another call"):
        Seal([OLD]).open(other, Seal([OLD]).seal(CALL, b"data"))


@pytest.mark.parametrize("keys", [[], ["short"], [OLD, ""]])
def test_keys_that_are_none_are_refused_without_being_shown(keys: list[str]) -> None:
    with pytest.raises(SealError) as error:
        Seal(keys)
    assert "short" not in str(error.value)
    assert OLD not in str(error.value)
