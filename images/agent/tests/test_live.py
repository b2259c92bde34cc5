"""What of a call goes into a snapshot, and what a team's own code can spoil."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest
from livekit.agents import Agent, AgentSession, JobContext
from livekit.agents.llm import AgentHandoff, ChatContext, ChatMessage

from voice_agent.call import entrance
from voice_agent.call.errand import Errand, Kind, read, write
from voice_agent.call.live import OWN_STATE_BYTES, Call
from voice_agent.call.process import Prepared
from voice_agent.call.serving import agent_at
from voice_agent.call.snapshot import CallIdentity, Snapshot, decode
from voice_agent.gemini import ModelCheckpoint


class Form(Agent):
    """Keeps what a test gives it."""

    def __init__(self, state: Any = None) -> None:
        super().__init__(instructions="Fill in the form.")
        self.state = state
        self.entered = 0

    async def on_enter(self) -> None:
        """Count."""
        self.entered += 1

    def save_state(self) -> Any:
        """What the test gave, or its failure."""
        if isinstance(self.state, Exception):
            raise self.state
        return self.state

    def restore_state(self, state: Any) -> None:
        """Take it, unless it is the one that fails."""
        if state == "poison":
            raise ValueError(state)
        self.state = state


def call_of(agent: Agent) -> Call:
    session = SimpleNamespace(current_agent=agent, user_state="listening", agent_state="listening", _activity=None)
    session.history = ChatContext.empty()
    identity = CallIdentity(room="room", room_sid="RM_1", caller="caller")
    return Call(cast(JobContext, None), identity, cast("AgentSession[None]", session), datetime.now(UTC))


def snapshot_of(agent: Agent) -> Snapshot:
    return decode(call_of(agent).snapshot(ModelCheckpoint()).encode())


def said(number: int, words: str) -> ChatMessage:
    role: Literal["user", "assistant"] = "assistant" if number % 2 else "user"
    return ChatMessage(id=f"item_{number}", role=role, content=[words], created_at=100.0 + number)


def entering(call: Call, *, under_way: bool = True) -> None:
    task = asyncio.get_running_loop().create_future()
    if not under_way:
        task.set_result(None)
    vars(call.session)["_activity"] = SimpleNamespace(_on_enter_task=task, agent=call.agent)


async def said_at(agent: Agent, moment: float) -> None:
    context = agent.chat_ctx.copy()
    context.items = [ChatMessage(role="assistant", content=["Hello."], created_at=moment)]
    await agent.update_chat_ctx(context)


async def test_an_agent_is_entering_until_somebody_speaks() -> None:
    agent = Form()
    call = call_of(agent)
    assert not call.entering
    entering(call, under_way=False)
    assert not call.entering

    entering(call)
    assert call.entering
    # What its author gave it to begin with.
    await said_at(agent, call.began_at.timestamp() - 1)
    assert call.entering
    await said_at(agent, call.began_at.timestamp() + 1)
    assert not call.entering
    # A tool has put it in the place of one who had spoken.
    handoff = AgentHandoff(new_agent_id="form", created_at=call.began_at.timestamp() + 2)
    vars(call.session)["history"] = ChatContext([handoff])
    assert call.entering
    vars(call.session)["agent_state"] = "speaking"
    assert not call.entering


async def test_a_noise_is_no_beginning_of_a_conversation_but_a_word_is(monkeypatch: pytest.MonkeyPatch) -> None:
    call, model = call_of(Form()), SimpleNamespace(asked=False, playing=(), progress=SimpleNamespace(speaking=False))
    monkeypatch.setattr(Call, "model", model)
    entering(call)
    model.progress.owed = True
    assert call.entering
    model.asked = True
    assert not call.entering


async def test_an_agent_enters_in_no_third_process() -> None:
    call = call_of(Form())
    entering(call)
    assert decode(call.snapshot(ModelCheckpoint()).encode()).entering
    call.reentered = True
    assert not decode(call.snapshot(ModelCheckpoint()).encode()).entering


@pytest.mark.parametrize(
    "noted", [[0, 1], [0, 1, 2], [0, 1, 3], [0, 1, 2, 3]], ids=["neither", "question", "part-of-the-answer", "both"]
)
async def test_a_turn_that_is_being_played_is_in_the_snapshot_once(
    monkeypatch: pytest.MonkeyPatch, noted: list[int]
) -> None:
    # The same words twice in a row are two turns.
    conversation = [said(number, "Noted." if number % 2 else "Yes.") for number in range(4)]
    agent = Form()
    context = agent.chat_ctx.copy()
    context.items = [conversation[number] for number in noted]
    await agent.update_chat_ctx(context)
    playing = tuple(conversation[2:])
    monkeypatch.setattr(Call, "model", SimpleNamespace(playing=playing, progress=SimpleNamespace(speaking=False)))

    kept = snapshot_of(agent).agent.chat["items"]
    assert [item["id"] for item in kept] == [message.id for message in conversation]
    assert len(agent.chat_ctx.items) == len(noted)


async def test_conversation_instructions_and_state_come_back() -> None:
    old, new = Form({"name": "Ada"}), Form()
    await old.update_instructions("Ask for the street.")
    context = old.chat_ctx.copy()
    context.add_message(role="user", content="I live in")
    await old.update_chat_ctx(context)

    call = call_of(new)
    await call.restore(snapshot_of(old))

    assert new.instructions == "Ask for the street."
    assert [item.text_content for item in new.chat_ctx.items if isinstance(item, ChatMessage)] == ["I live in"]
    assert new.state == {"name": "Ada"}


@pytest.mark.parametrize("state", [object(), {1: object()}, RuntimeError("no state today")])
def test_state_that_cannot_be_saved_is_left_out(state: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert snapshot_of(Form(state)).agent.own is None
    assert re.search(r"save_state of \S*test_live:Form", caplog.text)


def test_state_that_is_too_large_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert snapshot_of(Form("x" * (OWN_STATE_BYTES - 2))).agent.own
    assert not caplog.records
    assert snapshot_of(Form("x" * OWN_STATE_BYTES)).agent.own is None
    assert re.search(r"save_state of \S*test_live:Form returned 1048578 bytes of JSON, above 1048576", caplog.text)


async def test_state_that_cannot_be_restored_does_not_end_the_call(caplog: pytest.LogCaptureFixture) -> None:
    await call_of(Form()).restore(snapshot_of(Form("poison")))
    assert re.search(r"restore_state of \S*test_live:Form failed", caplog.text)


@pytest.mark.parametrize("path", ["test_live:Nobody", "builtins:object", "json:JSONDecodeError"])
def test_where_the_active_agent_cannot_be_made_the_first_goes_on(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Form()
    ready = cast(Prepared, SimpleNamespace(make_agent=lambda: first))
    assert agent_at(path, ready) is first

    def broken() -> Agent:
        raise KeyError("a tenant that only a tool knows")

    monkeypatch.setattr("voice_agent.agents.load", lambda _: broken)
    assert agent_at(path, ready) is first


async def test_an_agent_is_entered_silently_once() -> None:
    agent = Form()
    entrance.be_silent(agent)
    await agent.on_enter()
    assert agent.entered == 0
    await agent.on_enter()
    assert agent.entered == 1


def test_an_errand_comes_back_and_a_teams_metadata_is_none() -> None:
    errand = Errand(kind=Kind.HANDOVER, caller="caller", epoch=2, predecessor="agent-1", nonce="n")
    assert read(write(errand)) == errand
    for metadata in ("", "customer 7", '{"customer": 7}', "[]", '{"voice-agent": {"kind": "party"}}'):
        assert read(metadata) is None
