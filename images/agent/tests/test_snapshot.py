"""A snapshot comes back as it was written, or says why it cannot."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from voice_agent.call.snapshot import AgentState, CallIdentity, Snapshot, SnapshotError, Unusable, decode
from voice_agent.gemini import ModelCheckpoint, ToolCall

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def snapshot() -> Snapshot:
    return Snapshot(
        call=CallIdentity(room="room", room_sid="RM_1", caller="caller", epoch=3, job_metadata="{}"),
        agent=AgentState(
            path="package.module:Class",
            instructions="Be brief.",
            chat={"items": [{"type": "message", "role": "user", "content": ["my number is 4711"]}]},
            own={"cart": ["apple", 2]},
        ),
        model=ModelCheckpoint(
            handle="handle-1", pending_audio=b"\x00\xff", tool_calls=(ToolCall("1", "look_up", {"a": 1}),)
        ),
        trace={"traceparent": "00-" + 32 * "a" + "-" + 16 * "b" + "-01"},
        pod="pod-1",
        began_at=NOW,
        written_at=NOW,
    )


def test_it_comes_back_as_it_was_written(snapshot: Snapshot) -> None:
    assert decode(snapshot.encode()) == snapshot


def test_a_function_that_ran_is_told_to_the_next_model_as_interrupted(snapshot: Snapshot) -> None:
    ended = ToolCall("2", "book", {}, response={"output": "done"})
    model = replace(snapshot.model, tool_calls=(*snapshot.model.tool_calls, ended))

    interrupted, unchanged = model.interrupted().tool_calls

    assert "not known" in (interrupted.response or {})["error"]
    assert unchanged == ended


def test_a_field_of_a_later_minor_change_is_ignored(snapshot: Snapshot) -> None:
    later = json.loads(snapshot.model_dump_json()) | {"mood": "good"}

    assert decode(zlib.compress(json.dumps(later).encode())) == snapshot


def test_a_newer_version_says_so(snapshot: Snapshot) -> None:
    newer = json.loads(snapshot.model_dump_json()) | {"version": 2, "call": "shaped otherwise"}

    with pytest.raises(SnapshotError, match="version 2") as caught:
        decode(zlib.compress(json.dumps(newer).encode()))

    assert caught.value.reason is Unusable.NEWER


@pytest.mark.parametrize(
    "data",
    [b"", b"garbage", zlib.compress(b"{}"), zlib.compress(b"not json"), zlib.compress(b'{"version": 1}')],
)
def test_a_broken_one_says_so(data: bytes) -> None:
    with pytest.raises(SnapshotError) as caught:
        decode(data)

    assert caught.value.reason is Unusable.BROKEN


def test_one_that_is_cut_short_says_so(snapshot: Snapshot) -> None:
    with pytest.raises(SnapshotError, match="cut short"):
        decode(snapshot.encode()[:-10])


def test_one_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(SnapshotError, match="too large"):
        decode(zlib.compress(b" " * 64 * 1024 * 1024))


def test_the_error_tells_nothing_of_the_content(snapshot: Snapshot) -> None:
    wrong = json.loads(snapshot.model_dump_json())
    wrong["agent"]["chat"] = "my number is 4711"

    with pytest.raises(SnapshotError) as caught:
        decode(zlib.compress(json.dumps(wrong).encode()))

    assert "4711" not in str(caught.value)
    assert "agent.chat" in str(caught.value)
