"""No ending of a connection to Gemini costs a caller a turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lab.callers import CallFleet, CallPlan
from lab.gemini import Behaviour, Fault, Simulator
from lab.gemini.faults import Moment
from lab.signals import Kind
from lab.worker import LogLine, Worker, worker

AGENTS = Path(__file__).parent / "agents"


@dataclass(frozen=True)
class Ending:
    """A way in which a connection ends.

    Attributes:
        faults: what happens, once, in the call's second turn.
        reason: how the worker's log names it.
        replays: how the worker may have the turn answered; None: it is over before the connection is left.
    """

    faults: tuple[Fault, ...]
    reason: str
    replays: frozenset[str | None] = frozenset({None})


# Calls of one group are held at the same time. A fault in an utterance comes before the utterance counts as a turn.
AUDIO, TOOL = frozenset({"audio"}), frozenset({"tool"})


def close(moment: Moment, *, turn: int = 2, code: int = 1011) -> Fault:
    """The service closes the connection."""
    return Fault("close", moment, turn=turn, code=code)


def goaway(moment: Moment, seconds: float, *, turn: int = 2) -> Fault:
    """The service announces the end, so many seconds before it comes."""
    return Fault("goaway", moment, turn=turn, delay_s=seconds)


# Calls of one group are held at the same time. A fault in an utterance comes before the utterance counts as a turn.
ENDINGS = {
    "goaway": {
        "in the utterance": Ending((goaway("utterance", 0.4, turn=1),), "goaway", AUDIO),
        "in the utterance, with time": Ending((goaway("utterance", 8, turn=1),), "goaway"),
        "in the answer": Ending((goaway("answer", 0.1),), "goaway", frozenset({"audio", "continue", None})),
        "in the answer, with time": Ending((goaway("answer", 8),), "goaway"),
    },
    "close": {
        "in the utterance": Ending((close("utterance", turn=1),), "1011", AUDIO),
        "after the utterance": Ending((close("turn"),), "1011", AUDIO),
        "in the answer, and the handle has expired": Ending(
            (close("answer"), Fault("refuse_handle", times=2)), "1011", AUDIO
        ),
        "invalid argument": Ending((close("turn", code=1007),), "1007", AUDIO),
    },
    "silence": {
        "after the utterance": Ending((Fault("stall", turn=2),), "stall", AUDIO),
        "in the answer": Ending((Fault("stall", "answer", turn=2),), "stall", AUDIO),
        "a lost network": Ending((Fault("drop", "answer", turn=2),), "dropped", AUDIO),
        "a service that is away for three seconds": Ending(
            (close("turn"), Fault("drop", "setup", times=4)), "1011", AUDIO
        ),
    },
    "tool": {
        "goaway": Ending((goaway("tool_call", 0.6),), "goaway", TOOL),
        "goaway, with time": Ending((goaway("tool_call", 8),), "goaway"),
        "close": Ending((close("tool_call"),), "1011", TOOL),
    },
}


def lines_of(pod: Worker, call: int, part: str) -> list[LogLine]:
    """What the worker has logged of a call, and that contains this."""
    return [
        line for line in pod.lines if part in str(line["message"]) and str(line.get("room", "")).endswith(f"-{call}")
    ]


@pytest.fixture
def plan(plan: CallPlan) -> CallPlan:
    return replace(plan, pause_s=0.3)


@pytest.mark.parametrize("group", ENDINGS)
async def test_no_turn_is_lost_or_answered_twice(
    group: str, variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    endings = ENDINGS[group]
    variables |= {"IDLE_PROCESSES": str(len(endings))}
    if group == "silence":
        # Elsewhere a machine that stands still for as long would be taken for a service that does.
        variables |= {"GEMINI_STALL_SECONDS": "2"}
    if group == "tool":
        variables |= {"AGENT_CLASS": "slow_tool:SlowTool", "PYTHONPATH": str(AGENTS)}
        plan = replace(plan, kinds=(Kind.ASK_TOOL,))
    for call, ending in enumerate(endings.values(), 1):
        gemini.faults += [replace(fault, call=call) for fault in ending.faults]

    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(plan, len(endings)) as fleet:
            await fleet.all_answering()
            await fleet.more_answers(2)
            reports = await fleet.finish()
        reconnects = {
            reason: await pod.metric(f'voice_agent_gemini_reconnects_total{{reason="{reason}"}}')
            for reason in {ending.reason for ending in endings.values()}
        }

    for report, (name, ending) in zip(reports, endings.items(), strict=True):
        assert (name, report.findings) == (name, []), pod.text()
        back = [line["message"] for line in lines_of(pod, report.call, "Gemini is back")]
        assert (name, [ending.reason in line for line in back]) == (name, [True])
        replays = [line["message"].rpartition(": ")[2] for line in lines_of(pod, report.call, "to another connection")]
        assert len(replays) <= 1
        assert set(replays or [None]) <= ending.replays, name
    assert reconnects == Counter(ending.reason for ending in endings.values())
    if group == "tool":
        looked_up = pod.text().count("looking up")
        assert looked_up == sum(len(report.turns) for report in reports), "a function ran twice, or not at all"


async def test_an_answer_of_which_enough_was_heard_is_not_said_again(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    # Half of it, after which the connection ends, is all but the last 20 ms of what tells which answer it is.
    gemini.behaviour.answer_s = 1.4
    gemini.faults += [close("answer")]
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            await fleet.more_answers(2)
            [report] = await fleet.finish()
    assert report.findings == [], pod.text()


async def test_a_long_call_outlives_many_connections(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    """The service refuses a handle while another connection has it."""
    gemini.behaviour = Behaviour(setup_s=0.05, latency_s=0.1, answer_s=0.8, connection_limit_s=1.8, goaway_lead_s=1.4)
    gemini.behaviour.exclusive_handles = True
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            async with asyncio.timeout(100):
                await gemini.wait_for_sessions(21)
            [report] = await fleet.finish()

    assert report.findings == [], f"{gemini.turns} {gemini.sessions} {pod.text()}"
    assert all(session.resumed for session in gemini.sessions if session.turns > 1)
    limited = [session.connection for session in gemini.sessions[:-1] if not session.closed_by_client]
    assert limited == [], "they were not left before their limit"


async def test_an_agent_whose_model_is_gone_for_good_leaves_the_room(
    variables: dict[str, str], plan: CallPlan, gemini: Simulator
) -> None:
    variables |= {"GEMINI_RECONNECT_SECONDS": "1"}
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(replace(plan, give_up_after=1, answer_timeout_s=30), 1) as fleet:
            await fleet.all_answering()
            gemini.faults += [Fault("close", "setup", times=99), Fault("close", "turn", code=1007)]
            line = await pod.logged("call over: error")
            async with asyncio.timeout(20):
                await pod.logged("call finished")
            [report] = await fleet.finish()

    assert line["severity"] == "ERROR"
    assert "Gemini is lost" in line["message"]
    assert all(stay.left for stay in report.agents)
