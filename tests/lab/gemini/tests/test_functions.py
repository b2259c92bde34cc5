"""Function calls, blocking and not."""

from __future__ import annotations

from typing import Any

import pytest
from google.genai import types

from lab.gemini import Simulator
from lab.gemini.tests.client import (
    LOOKUP,
    Connect,
    answers,
    ask,
    audio_of,
    function_call,
    interrupted,
    messages_until,
    resumable,
    say,
    turn_complete,
)
from lab.signals import Frame, Kind

ASK_TOOL = Frame(Kind.ASK_TOOL, 3, 1)
NON_BLOCKING = {"function_declarations": [{"name": "look_up", "behavior": "NON_BLOCKING"}]}


def response_to(call: types.FunctionCall, scheduling: str | None = None) -> types.FunctionResponse:
    return types.FunctionResponse(
        id=call.id,
        name=call.name,
        response={"output": "42"},
        scheduling=types.FunctionResponseScheduling(scheduling) if scheduling else None,
    )


async def test_a_function_is_called_and_its_response_awaited(connect: Connect) -> None:
    async with connect(tools=[LOOKUP]) as session:
        await say(session, ASK_TOOL)
        called = await messages_until(session, lambda m: m.tool_call)
        call = function_call(called)
        assert (call.name, call.args) == ("look_up", {"topic": "example"})
        assert not audio_of(called).size
        await session.send_tool_response(function_responses=[response_to(call)])
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 1, turns=1)]


async def test_without_functions_the_question_is_simply_answered(connect: Connect) -> None:
    async with connect() as session:
        assert answers(await ask(session, ASK_TOOL)) == [Frame(Kind.ANSWER, 3, 1, turns=1)]


async def test_arguments_fit_the_functions_schema(connect: Connect) -> None:
    properties: dict[str, Any] = {
        "city": {"type": "STRING"},
        "unit": {"type": "STRING", "enum": ["celsius", "fahrenheit"]},
        "days": {"type": "INTEGER", "minimum": 3},
        "now": {"type": "BOOLEAN"},
        "places": {"type": "ARRAY", "items": {"type": "OBJECT", "properties": {"height": {"type": "NUMBER"}}}},
    }
    declaration = {"name": "weather", "parameters": {"type": "OBJECT", "properties": properties}}
    async with connect(tools=[{"function_declarations": [declaration]}]) as session:
        await say(session, ASK_TOOL)
        call = function_call(await messages_until(session, lambda m: m.tool_call))
    assert call.args == {
        "city": "example",
        "unit": "celsius",
        "days": 3,
        "now": True,
        "places": [{"height": 1.0}],
    }


async def test_a_function_call_is_cancelled_by_barge_in(connect: Connect) -> None:
    async with connect(tools=[LOOKUP]) as session:
        await say(session, ASK_TOOL)
        call = function_call(await messages_until(session, lambda m: m.tool_call))
        await say(session, Frame(Kind.ASK, 3, 2))
        cancelled = await messages_until(session, lambda m: m.tool_call_cancellation)
        await messages_until(session, turn_complete)
        await session.send_tool_response(function_responses=[response_to(call)])
        messages = await messages_until(session, turn_complete)
    assert cancelled[-1].tool_call_cancellation
    assert cancelled[-1].tool_call_cancellation.ids == [call.id]
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 2, turns=2)], "the late response changes nothing"


async def test_a_conversation_cannot_be_resumed_during_a_call(connect: Connect) -> None:
    async with connect(tools=[LOOKUP], session_resumption={}) as session:
        await say(session, ASK_TOOL)
        called = await messages_until(session, lambda m: m.tool_call)
        assert not any(resumable(m) for m in called)
        await session.send_tool_response(function_responses=[response_to(function_call(called))])
        assert resumable((await messages_until(session, resumable))[-1])


async def test_a_non_blocking_call_lets_the_conversation_go_on(sim: Simulator, connect: Connect) -> None:
    async with connect(tools=[NON_BLOCKING], session_resumption={}) as session:
        await say(session, ASK_TOOL)
        call = function_call(await messages_until(session, lambda m: m.tool_call))
        await messages_until(session, turn_complete)
        between = await ask(session, Frame(Kind.ASK, 3, 2))
        assert answers(between) == [Frame(Kind.ANSWER, 3, 2, turns=2)]
        await session.send_tool_response(function_responses=[response_to(call)])
        messages = await messages_until(session, turn_complete)
        assert answers(messages) == [Frame(Kind.ANSWER, 3, 1, turns=2)]
        assert not any(resumable(m) for m in between + messages), "not while the function runs"
        assert resumable((await messages_until(session, resumable))[-1])
    assert all(turn.completed for turn in sim.turns)


@pytest.mark.parametrize(("scheduling", "interrupts"), [("INTERRUPT", True), ("WHEN_IDLE", False)])
async def test_the_response_to_a_non_blocking_call_may_interrupt(
    connect: Connect, scheduling: str, interrupts: bool
) -> None:
    async with connect(tools=[NON_BLOCKING]) as session:
        await say(session, ASK_TOOL)
        call = function_call(await messages_until(session, lambda m: m.tool_call))
        await messages_until(session, turn_complete)
        await say(session, Frame(Kind.ASK_LONG, 3, 2))
        await messages_until(session, lambda m: m.data)
        await session.send_tool_response(function_responses=[response_to(call, scheduling)])
        rest = await messages_until(session, turn_complete)
        messages = await messages_until(session, turn_complete)
    assert any(interrupted(m) for m in rest) == interrupts
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 1, turns=2)]


async def test_a_silent_response_is_not_answered(connect: Connect) -> None:
    async with connect(tools=[NON_BLOCKING]) as session:
        await say(session, ASK_TOOL)
        call = function_call(await messages_until(session, lambda m: m.tool_call))
        await messages_until(session, turn_complete)
        await session.send_tool_response(function_responses=[response_to(call, "SILENT")])
        assert answers(await ask(session, Frame(Kind.ASK, 3, 2))) == [Frame(Kind.ANSWER, 3, 2, turns=2)]


async def test_functions_can_be_replaced_in_mid_session(connect: Connect) -> None:
    async with connect(tools=[LOOKUP]) as session:
        await session.send_context_update(tools=[{"function_declarations": [{"name": "book"}]}])
        await say(session, ASK_TOOL)
        assert function_call(await messages_until(session, lambda m: m.tool_call)).name == "book"
