"""The HTTP API: what tests in other processes steer and read the simulator by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from lab.gemini import Simulator
from lab.gemini.tests.client import (
    ASK,
    DEADLINE_S,
    MODEL,
    Connect,
    answers,
    ask,
    audio_of,
    closed_by_server,
    messages_until,
    turn_complete,
)
from lab.signals import Frame, Kind


@pytest.fixture
async def admin(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sim.admin_url, timeout=aiohttp.ClientTimeout(DEADLINE_S)) as client:
        yield client


async def get(admin: aiohttp.ClientSession, path: str) -> Any:
    async with admin.get(path) as response:
        assert response.status == 200
        return await response.json()


async def test_turns_and_sessions_are_told(admin: aiohttp.ClientSession, connect: Connect) -> None:
    async with connect() as session:
        await ask(session)
        assert await get(admin, "/healthz") == {"open": 1, "turns": 1}
        [turn] = await get(admin, "/turns")
        [record] = await get(admin, "/sessions")
    assert (turn["call"], turn["question"], turn["kind"], turn["turns"]) == (3, 5, "ASK", 1)
    assert turn["time"] <= turn["answered"] <= turn["completed"]
    assert turn["connection"] == record["connection"]
    assert turn["conversation"] == record["conversation"]
    assert (record["call"], record["turns"], record["model"]) == (3, 1, f"models/{MODEL}")
    assert record["opened"] <= record["ready"]
    assert record["closed"] is None


async def test_a_client_can_wait_for_turns(admin: aiohttp.ClientSession, connect: Connect) -> None:
    waiting = asyncio.create_task(get(admin, "/turns?count=2"))
    async with connect() as session:
        await ask(session, Frame(Kind.ASK, 3, 1))
        assert not waiting.done()
        await ask(session, Frame(Kind.ASK, 3, 2))
    assert len(await waiting) == 2
    assert len(await get(admin, "/turns?count=3&timeout_s=0")) == 2


async def test_faults_are_given_shown_and_taken_back(admin: aiohttp.ClientSession, connect: Connect) -> None:
    async with admin.post("/faults", json={"action": "close", "call": 3, "turn": 2, "code": 1007}) as response:
        assert response.status == 201
    async with connect() as session, closed_by_server() as closed:
        assert answers(await ask(session, Frame(Kind.ASK, 3, 1)))
        await ask(session, Frame(Kind.ASK, 3, 2))
    assert closed.code == 1007
    assert [fault["times"] for fault in await get(admin, "/faults")] == [0]
    async with admin.delete("/faults"):
        assert await get(admin, "/faults") == []


async def test_a_fault_can_happen_at_once(admin: aiohttp.ClientSession, connect: Connect) -> None:
    async with connect() as session, closed_by_server() as closed:
        await ask(session)
        async with admin.post("/faults", json={"action": "close", "when": "now", "call": 3}) as response:
            assert response.status == 201
        await messages_until(session, turn_complete)
    assert closed.code == 1011


async def test_behaviour_is_changed_for_all_for_the_next_and_for_one(
    admin: aiohttp.ClientSession, connect: Connect
) -> None:
    async with admin.patch("/behaviour", json={"answer_s": 0.9}) as response:
        assert (await response.json())["answer_s"] == 0.9
    async with admin.post("/sessions/next", json={"answer_s": 2.0}) as response:
        assert response.status == 201
    async with connect() as next_one, connect() as other:
        assert audio_of(await ask(next_one)).size == 2.0 * 24_000
        assert audio_of(await ask(other)).size == 0.9 * 24_000
        connection = (await get(admin, "/sessions"))[-1]["connection"]
        async with admin.patch(f"/sessions/{connection}", json={"connection_limit_s": 0.0}) as response:
            assert response.status == 200
        async with closed_by_server():
            await messages_until(other, lambda m: False)
        assert answers(await ask(next_one, ASK))
    async with admin.patch(f"/sessions/{connection}", json={}) as response:
        assert response.status == 404


@pytest.mark.parametrize(
    ("method", "path", "body", "named"),
    [
        ("POST", "/faults", {"action": "nonsense"}, "nonsense"),
        ("POST", "/faults", {"action": "close", "cal": 3}, "'cal'"),
        ("POST", "/faults", {"action": "close", "call": "three"}, "'three'"),
        ("POST", "/faults", {"action": "close", "when": "later"}, "later"),
        ("POST", "/faults", {"action": "close", "code": 7}, "code is 7"),
        ("POST", "/faults", {}, "action is missing"),
        ("POST", "/faults", [], "not a JSON object"),
        ("PATCH", "/behaviour", {"latency": 1}, "latency_s"),
        ("PATCH", "/behaviour", {"latency_s": "1"}, "latency_s is '1'"),
        ("PATCH", "/behaviour", {"pace": 0}, "pace is 0"),
        ("PATCH", "/behaviour", {"exclusive_handles": 1}, "exclusive_handles is 1"),
        ("GET", "/turns?count=many", None, "many"),
    ],
)
async def test_what_makes_no_sense_is_named(
    admin: aiohttp.ClientSession, method: str, path: str, body: Any, named: str
) -> None:
    async with admin.request(method, path, json=body) as response:
        assert response.status == 400
        assert named in await response.text()
