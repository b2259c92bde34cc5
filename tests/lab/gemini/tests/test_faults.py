"""What is made to go wrong happens to whom it is meant for, then and as often as it is meant."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lab.gemini import Fault, Simulator
from lab.gemini.tests.client import (
    ASK,
    DEADLINE_S,
    LOOKUP,
    Connect,
    answers,
    ask,
    audio_of,
    closed_by_server,
    handle_after,
    interrupted,
    messages_until,
    say,
    turn_complete,
)
from lab.signals import Frame, Kind


@pytest.mark.parametrize("code", [1007, 1011])
@pytest.mark.parametrize("when", ["turn", "answer"])
async def test_a_close_in_a_chosen_turn(sim: Simulator, connect: Connect, code: int, when: Any) -> None:
    sim.faults.append(Fault("close", when=when, call=3, turn=2, code=code))
    async with connect() as session:
        await ask(session, Frame(Kind.ASK, 3, 1))
        await say(session, Frame(Kind.ASK, 3, 2))
        heard = []
        async with closed_by_server() as closed:
            while True:
                heard += await messages_until(session, lambda m: True)
    assert closed.code == code
    assert bool(audio_of(heard).size) == (when == "answer")
    assert sim.turns[1].completed is None


async def test_a_close_in_the_middle_of_an_utterance_comes_before_the_turn(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("close", "utterance", call=3, turn=1))
    async with connect() as session:
        await ask(session, Frame(Kind.ASK, 3, 1))
        async with closed_by_server():
            await say(session, Frame(Kind.ASK, 3, 2))
            await messages_until(session, lambda m: False)
    assert [turn.question for turn in sim.turns] == [1]


async def test_a_fault_of_one_call_leaves_the_others(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("close", call=3))
    async with connect() as third, connect() as fourth:
        async with closed_by_server():
            await ask(third, Frame(Kind.ASK, 3, 1))
        assert answers(await ask(fourth, Frame(Kind.ASK, 4, 1))) == [Frame(Kind.ANSWER, 4, 1, turns=1)]


async def test_a_close_at_set_up_and_only_once(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("close", when="setup"))
    async with closed_by_server() as closed, connect():
        pass
    assert closed.code == 1011
    async with connect() as session:
        assert answers(await ask(session))
    async with asyncio.timeout(DEADLINE_S):
        await sim.wait_until(lambda: not sim.open)
    assert [(record.close_code, record.closed_by_client) for record in sim.sessions] == [(1011, False), (1000, True)]


async def test_a_close_while_a_function_runs(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("close", when="tool_call"))
    async with connect(tools=[LOOKUP]) as session:
        await say(session, Frame(Kind.ASK_TOOL, 3, 1))
        await messages_until(session, lambda m: m.tool_call)
        async with closed_by_server() as closed:
            await messages_until(session, turn_complete)
    assert closed.code == 1011


async def test_a_connection_is_closed_at_once(sim: Simulator, connect: Connect) -> None:
    async with connect() as session, connect() as other:
        await ask(session, Frame(Kind.ASK, 3, 1))
        await ask(other, Frame(Kind.ASK, 4, 1))
        await sim.add_fault(Fault("close", when="now", call=3, times=10))
        async with closed_by_server() as closed:
            await messages_until(session, turn_complete)
        assert closed.code == 1011
        assert answers(await ask(other, Frame(Kind.ASK, 4, 2)))


async def test_a_dropped_connection_has_no_close_frame(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("drop"))
    async with connect() as session, closed_by_server() as closed:
        await ask(session)
    assert closed.code in (None, 1006)


async def test_a_stall_says_nothing_more_and_keeps_the_connection(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("stall"))
    async with connect(input_audio_transcription=None) as session:
        await say(session, ASK)
        async with asyncio.timeout(DEADLINE_S):
            await sim.wait_for_turns(1)
        await say(session, Frame(Kind.ASK, 3, 6))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await messages_until(session, lambda m: True)
        assert sim.sessions[-1].closed is None
    assert len(sim.turns) == 1, "a hung service takes no turns"


async def test_a_slow_answer_can_still_be_interrupted(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("slow", turn=1, delay_s=DEADLINE_S))
    async with connect() as session:
        await say(session, ASK)
        await say(session, Frame(Kind.ASK, 3, 6))
        await messages_until(session, interrupted)
        await messages_until(session, turn_complete)
        messages = await messages_until(session, turn_complete)
    assert answers(messages) == [Frame(Kind.ANSWER, 3, 6, turns=2)]


async def test_slowness_delays_the_answer(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("slow", delay_s=0.5))
    async with connect() as session:
        await ask(session)
    [turn] = sim.turns
    assert turn.answered
    assert turn.answered - turn.time >= 0.5


async def test_an_early_go_away(sim: Simulator, connect: Connect) -> None:
    sim.faults.append(Fault("goaway", delay_s=0.3, code=1008))
    async with connect() as session:
        await say(session, ASK)
        message = (await messages_until(session, lambda m: m.go_away))[-1]
        assert message.go_away
        assert message.go_away.time_left == "0.3s"
        async with closed_by_server() as closed:
            await messages_until(session, lambda m: False)
    assert closed.code == 1008


async def test_a_refused_handle(sim: Simulator, connect: Connect) -> None:
    async with connect(session_resumption={}) as session:
        handle = await handle_after(session)
    sim.faults.append(Fault("refuse_handle"))
    async with closed_by_server() as closed, connect(session_resumption={"handle": handle}):
        pass
    assert closed.code == 1008
    async with connect(session_resumption={"handle": handle}) as session:
        assert answers(await ask(session, Frame(Kind.ASK, 3, 6))) == [Frame(Kind.ANSWER, 3, 6, turns=2)]
