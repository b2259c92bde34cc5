"""A keeper that cannot reach LiveKit leaves the lead to another that can; LiveKit answers as the test likes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from livekit import api

from voice_agent.keeper.reach import GIVE_WAY_SECONDS, LOOK_AGAIN_SECONDS, Reach


class Lead:
    """The lead, which it has."""

    def __init__(self) -> None:
        self.leading = True

    def stand_aside(self) -> None:
        self.leading = False


class Scene:
    """A keeper, LiveKit, and the time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fails: Exception | None = None
        self.asked = 0
        self.lead = Lead()
        self.another_reaches = True
        client = cast(api.LiveKitAPI, SimpleNamespace(room=SimpleNamespace(list_rooms=self._list_rooms)))
        self.reach = Reach(client, self.lead, self._another_reaches, lambda: self.now)

    async def _another_reaches(self) -> bool:
        return self.another_reaches

    async def _list_rooms(self, _: api.ListRoomsRequest) -> api.ListRoomsResponse:
        self.asked += 1
        if self.fails:
            raise self.fails
        return api.ListRoomsResponse()

    async def pass_by(self, seconds: float) -> None:
        for _ in range(round(seconds / LOOK_AGAIN_SECONDS)):
            self.now += LOOK_AGAIN_SECONDS
            await self.reach.look()


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    "error",
    [aiohttp.ClientConnectionError("refused"), TimeoutError(), api.TwirpError("unavailable", "", status=503)],
    ids=["refused", "hangs", "answers with an error"],
)
async def test_a_leader_that_cannot_reach_livekit_leaves_the_lead_to_one_that_can(
    scene: Scene, error: Exception
) -> None:
    assert await scene.reach.answers()
    scene.fails = error
    assert not await scene.reach.answers()
    await scene.pass_by(GIVE_WAY_SECONDS)
    assert scene.lead.leading
    await scene.pass_by(LOOK_AGAIN_SECONDS)
    assert not scene.lead.leading


async def test_a_leader_goes_on_where_no_keeper_reaches_livekit(scene: Scene) -> None:
    scene.fails, scene.another_reaches = TimeoutError(), False
    await scene.pass_by(60)
    assert scene.lead.leading
    scene.another_reaches = True
    await scene.pass_by(LOOK_AGAIN_SECONDS)
    assert not scene.lead.leading


async def test_a_leader_that_reaches_livekit_now_and_then_goes_on(scene: Scene) -> None:
    for _ in range(10):
        scene.fails = TimeoutError()
        await scene.pass_by(GIVE_WAY_SECONDS)
        scene.fails = None
        await scene.pass_by(LOOK_AGAIN_SECONDS)
    assert scene.lead.leading


async def test_a_keeper_that_does_not_lead_asks_livekit_only_when_it_is_asked_itself(scene: Scene) -> None:
    scene.lead.leading = False
    await scene.pass_by(60)
    assert scene.asked == 0
    assert await scene.reach.answers()
    assert scene.asked == 1


async def test_the_lead_of_another_does_not_count_against_a_keeper_that_comes_to_lead(scene: Scene) -> None:
    scene.fails = TimeoutError()
    await scene.pass_by(GIVE_WAY_SECONDS)
    scene.lead.leading = False
    await scene.pass_by(60)
    scene.lead.leading = True
    await scene.pass_by(GIVE_WAY_SECONDS)
    assert scene.lead.leading
