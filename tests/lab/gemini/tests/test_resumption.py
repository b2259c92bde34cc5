"""Handles, the conversation's memory, and its limits."""

from __future__ import annotations

from typing import Any

import pytest
from google import genai
from google.genai import types

from lab.gemini import Simulator
from lab.gemini.tests.client import (
    ASK,
    MODEL,
    Connect,
    answers,
    ask,
    closed_by_server,
    handle_after,
    handle_of,
    messages_until,
    resumable,
    say,
    turn_complete,
)
from lab.signals import Frame, Kind

HANDLES: dict[str, Any] = {"session_resumption": {}}


def resume(handle: str) -> dict[str, Any]:
    return {"session_resumption": {"handle": handle}}


async def test_a_handle_brings_the_conversation_back(sim: Simulator, connect: Connect) -> None:
    handle: str | None = None
    for number in range(1, 4):
        async with connect(session_resumption={"handle": handle}) as session:
            await say(session, Frame(Kind.ASK, 3, number))
            messages = await messages_until(session, resumable)
        assert answers(messages) == [Frame(Kind.ANSWER, 3, number, turns=number)]
        handle = handle_of(messages[-1])
    assert len({record.conversation for record in sim.sessions}) == 1
    assert [record.resumed for record in sim.sessions] == [False, True, True]


async def test_it_is_not_resumable_while_the_model_generates(connect: Connect) -> None:
    async with connect(**HANDLES) as session:
        await say(session, ASK)
        messages = await messages_until(session, resumable)
    updates = [m.session_resumption_update for m in messages if m.session_resumption_update]
    assert [(update.resumable, bool(update.new_handle)) for update in updates] == [(False, False), (True, True)]


async def test_a_handle_remembers_what_was_when_it_was_given(connect: Connect) -> None:
    async with connect(**HANDLES) as session:
        handle = await handle_after(session, Frame(Kind.ASK, 3, 1))
        await ask(session, Frame(Kind.ASK, 3, 2))
    async with connect(**resume(handle)) as session:
        assert answers(await ask(session, Frame(Kind.ASK, 3, 3))) == [Frame(Kind.ANSWER, 3, 3, turns=2)]


async def test_without_a_handle_nothing_is_remembered(connect: Connect) -> None:
    for number in (1, 2):
        async with connect() as session:
            messages = await ask(session, Frame(Kind.ASK, 3, number))
        assert answers(messages) == [Frame(Kind.ANSWER, 3, number, turns=1)]
        assert not [m for m in messages if m.session_resumption_update], "nobody asked for handles"


@pytest.mark.parametrize("handle", ["unknown", "expired"])
async def test_a_handle_that_is_not_good_is_refused(sim: Simulator, connect: Connect, handle: str) -> None:
    if handle == "expired":
        sim.behaviour.handle_ttl_s = 0.0
        async with connect(**HANDLES) as session:
            handle = await handle_after(session)
    async with closed_by_server() as closed, connect(**resume(handle)):
        pass
    assert closed.code == 1008


@pytest.mark.parametrize("exclusive", [False, True])
async def test_two_connections_on_one_handle(sim: Simulator, connect: Connect, exclusive: bool) -> None:
    sim.behaviour.exclusive_handles = exclusive
    async with connect(**HANDLES) as first:
        handle = await handle_after(first, Frame(Kind.ASK, 3, 1))
        if exclusive:
            async with closed_by_server() as closed, connect(**resume(handle)):
                pass
            assert closed.code == 1008
        else:
            async with connect(**resume(handle)) as second:
                assert answers(await ask(second, Frame(Kind.ASK, 3, 2))) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
        assert answers(await ask(first, Frame(Kind.ASK, 3, 3))) == [Frame(Kind.ANSWER, 3, 3, turns=2)]
    async with connect(**resume(handle)) as third:
        assert answers(await ask(third, Frame(Kind.ASK, 3, 4))) == [Frame(Kind.ANSWER, 3, 4, turns=2)]


async def test_transparent_updates_tell_the_last_message_consumed(http_options: types.HttpOptions) -> None:
    client = genai.Client(vertexai=True, api_key="express", http_options=http_options)
    config = types.LiveConnectConfig(
        response_modalities=[types.Modality.AUDIO],
        session_resumption=types.SessionResumptionConfig(transparent=True),
    )
    async with client.aio.live.connect(model=MODEL, config=config) as session:
        await say(session, ASK, silence_s=0.4)
        update = (await messages_until(session, resumable))[-1].session_resumption_update
    assert update
    assert update.last_consumed_client_message_index == 23, "0.72 s of speech and 0.4 s of silence in pieces of 50 ms"


async def test_go_away_comes_before_the_connection_limit(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.update({"connection_limit_s": 0.6, "goaway_lead_s": 0.4})
    async with connect(context_window_compression={"sliding_window": {}}) as session:
        message = (await messages_until(session, lambda m: m.go_away))[-1]
        assert message.go_away
        assert message.go_away.time_left == "0.4s"
        async with closed_by_server() as closed:
            await messages_until(session, lambda m: False)
    assert closed.code == 1011


async def test_compression_lifts_the_session_limit(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.update({"session_limit_s": 0.2, "goaway_lead_s": 0.1})
    async with connect() as session:
        assert (await messages_until(session, lambda m: m.go_away))[-1].go_away
    async with connect(context_window_compression={"sliding_window": {}}) as session:
        assert not [m for m in await ask(session) if m.go_away]


async def test_a_session_limit_is_that_of_all_its_connections(sim: Simulator, connect: Connect) -> None:
    async with connect(**HANDLES) as session:
        handle = await handle_after(session)
    sim.behaviour.update({"session_limit_s": 0.0, "goaway_lead_s": 0.0})
    async with connect(**resume(handle)) as session, closed_by_server() as closed:
        await messages_until(session, lambda m: False)
    assert closed.code == 1011


async def test_a_full_context_ends_the_session_unless_it_is_compressed(sim: Simulator, connect: Connect) -> None:
    sim.behaviour.context_tokens = 30
    async with connect() as session:
        await ask(session, Frame(Kind.ASK, 3, 1))
        async with closed_by_server() as closed:
            await ask(session, Frame(Kind.ASK, 3, 2))
    assert closed.code == 1007
    compression = {"trigger_tokens": 30, "sliding_window": {"target_tokens": 7}}
    async with connect(context_window_compression=compression) as session:
        await ask(session, Frame(Kind.ASK, 3, 1))
        messages = await ask(session, Frame(Kind.ASK, 3, 2))
    assert messages[-1].usage_metadata
    assert messages[-1].usage_metadata.prompt_token_count == 7
    assert turn_complete(messages[-1])
