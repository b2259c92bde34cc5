"""What LiveKit tells a keeper is believed if LiveKit has signed it, and acted on by the keeper that leads."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request
from google.protobuf.json_format import MessageToJson
from livekit import api
from livekit.protocol.models import ParticipantInfo, Room
from livekit.protocol.webhook import WebhookEvent

from voice_agent.keeper import peers
from voice_agent.keeper.peers import OtherKeepers
from voice_agent.keeper.webhooks import WEBHOOKS_PATH, Webhooks

KEY, SECRET = "key", "the secret of a key that signs webhooks"
AGENT, STANDARD = ParticipantInfo.Kind.AGENT, ParticipantInfo.Kind.STANDARD


class AKeeper:
    """One that notes which rooms it was told of."""

    def __init__(self, *, leading: bool = True) -> None:
        self.leading = leading
        self.rooms: list[str] = []
        self.passed_on: list[bytes] = []

    async def pass_on(self, webhook: bytes, signature: str) -> None:
        self.passed_on.append(webhook)


@asynccontextmanager
async def serving(webhooks: Webhooks) -> AsyncIterator[TestClient[Request, Application]]:
    app = web.Application()
    app.add_routes([web.post(WEBHOOKS_PATH, webhooks.take)])
    async with TestClient(TestServer(app)) as client:
        yield client


def told(event: str, kind: ParticipantInfo.Kind = AGENT) -> bytes:
    what = WebhookEvent(event=event, room=Room(sid="RM_1"), participant=ParticipantInfo(kind=kind))
    return MessageToJson(what).encode()


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """As livekit-server signs: https://docs.livekit.io/home/server/webhooks/#receiving-webhooks."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {"Authorization": api.AccessToken(KEY, secret).with_sha256(digest).to_jwt()}


async def answer(keeper: AKeeper, body: bytes, headers: dict[str, str]) -> int:
    async with serving(Webhooks(KEY, SECRET, keeper.rooms.append, keeper, keeper.pass_on)) as client:
        return (await client.post(WEBHOOKS_PATH, data=body, headers=headers)).status


@pytest.mark.parametrize("event", ["participant_left", "participant_connection_aborted"])
async def test_of_an_agent_that_left_the_leader_is_told_the_room(event: str) -> None:
    keeper, body = AKeeper(), told(event)
    assert await answer(keeper, body, signed(body)) == 200
    assert keeper.rooms == ["RM_1"]
    assert keeper.passed_on == []


@pytest.mark.parametrize("body", [told("participant_left", STANDARD), told("participant_joined"), told("room_started")])
async def test_nothing_else_concerns_it(body: bytes) -> None:
    for keeper in (AKeeper(), AKeeper(leading=False)):
        assert await answer(keeper, body, signed(body)) == 200
        assert (keeper.rooms, keeper.passed_on) == ([], [])


async def test_what_livekit_has_not_signed_is_refused() -> None:
    body, other = told("participant_left"), told("participant_joined")
    token = {"Authorization": api.AccessToken(KEY, SECRET).to_jwt()}
    for headers in (
        {},
        {"Authorization": "nonsense"},
        signed(body, "another secret, of nobody we know"),
        signed(other),
        token,
    ):
        keeper = AKeeper()
        assert await answer(keeper, body, headers) == 401
        assert (keeper.rooms, keeper.passed_on) == ([], [])


async def test_a_keeper_that_does_not_lead_passes_it_on_to_the_one_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower, body = AKeeper(), AKeeper(leading=False), told("participant_left")
    async with serving(Webhooks(KEY, SECRET, leader.rooms.append, leader, leader.pass_on)) as at_leader:
        address = str(at_leader.make_url("")).rstrip("/")

        async def resolve(_: str) -> frozenset[str]:
            return frozenset({address, "http://127.0.0.9:8090", "http://127.0.0.1:9"})

        monkeypatch.setattr(peers, "addresses_of", resolve)
        others = OtherKeepers("http://keepers:8090", "127.0.0.9", lambda: "token")
        async with serving(Webhooks(KEY, SECRET, follower.rooms.append, follower, others.pass_on)) as client:
            assert (await client.post(WEBHOOKS_PATH, data=body, headers=signed(body))).status == 200
    assert (leader.rooms, follower.rooms) == (["RM_1"], [])


async def test_what_was_passed_on_is_not_passed_on_again() -> None:
    keeper, body = AKeeper(leading=False), told("participant_left")
    assert await answer(keeper, body, signed(body) | {"Voice-Agent-Passed-On": "1"}) == 200
    assert keeper.passed_on == []
