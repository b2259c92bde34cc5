"""A keeper that cannot reach LiveKit leaves the lead to another that can; LiveKit answers as the test likes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import aiohttp
import pytest
from livekit import api

from voice_agent.keeper.reach import FAILURES, Reach


class Lead:
    """The lead, which it has."""

    def __init__(self) -> None:
        self.leading = True

    def stand_aside(self) -> bool:
        self.leading = False
        return True


class Scene:
    """A keeper and LiveKit."""

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.asked = 0
        self.lead = Lead()
        self.another_reaches = True
        self.on_asking_another: Callable[[], None] = lambda: None
        client = cast(api.LiveKitAPI, SimpleNamespace(room=SimpleNamespace(list_rooms=self._list_rooms)))
        self.reach = Reach(client, self.lead, self._another_reaches)

    async def _another_reaches(self) -> bool:
        self.on_asking_another()
        return self.another_reaches

    async def _list_rooms(self, _: api.ListRoomsRequest) -> api.ListRoomsResponse:
        self.asked += 1
        if self.fails:
            raise self.fails
        return api.ListRoomsResponse()

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
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
    await scene.look(FAILURES - 1)
    assert scene.lead.leading
    await scene.look()
    assert not scene.lead.leading


async def test_a_leader_goes_on_where_no_keeper_reaches_livekit(scene: Scene) -> None:
    scene.fails, scene.another_reaches = TimeoutError(), False
    await scene.look(10 * FAILURES)
    assert scene.lead.leading
    scene.another_reaches = True
    await scene.look()
    assert not scene.lead.leading


async def test_a_leader_goes_on_where_livekit_is_back_for_everybody(scene: Scene) -> None:
    scene.fails = TimeoutError()
    await scene.look(FAILURES - 1)
    scene.on_asking_another = lambda: setattr(scene, "fails", None)
    await scene.look()
    assert scene.lead.leading
    scene.on_asking_another = lambda: None
    scene.fails = TimeoutError()
    await scene.look(FAILURES - 1)
    assert scene.lead.leading


async def test_a_leader_that_reaches_livekit_now_and_then_goes_on(scene: Scene) -> None:
    for _ in range(10):
        scene.fails = TimeoutError()
        await scene.look(FAILURES - 1)
        scene.fails = None
        await scene.look()
    assert scene.lead.leading


async def test_a_keeper_that_does_not_lead_asks_livekit_only_when_it_is_asked_itself(scene: Scene) -> None:
    scene.lead.leading = False
    await scene.look(10)
    assert scene.asked == 0
    assert await scene.reach.answers()
    assert scene.asked == 1


async def test_what_failed_before_another_led_does_not_count_against_a_keeper_that_leads_again(scene: Scene) -> None:
    scene.fails = TimeoutError()
    await scene.look(FAILURES - 1)
    scene.lead.leading = False
    await scene.look()
    scene.lead.leading = True
    await scene.look(FAILURES - 1)
    assert scene.lead.leading
