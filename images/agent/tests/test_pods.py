"""What the keepers know of the fleet's pods, and which of them shall close."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from aiohttp.test_utils import TestClient, TestServer
from livekit import api

from voice_agent.keeper.alone import AlwaysLeading, NoPeers
from voice_agent.keeper.brain import Brain
from voice_agent.keeper.pods import Deletion, FleetPods, Pod, outdated
from voice_agent.keeper.reach import Reach
from voice_agent.keeper.routes import Routes
from voice_agent.kubernetes import ApiServer
from voice_agent.state.memory import MemoryStore
from voice_agent.tether.auth import SharedSecret
from voice_agent.tether.server import TetherServer

OLD, OLDER, NEW, STARTING = Pod("old", 2, True), Pod("older", 1, True), Pod("new", 3, True), Pod("new-2", 3, False)


@pytest.mark.parametrize(
    ("pods", "calls", "closed"),
    [
        ([OLD, OLDER], {}, {"older"}),
        ([OLD, NEW, STARTING], {"new": 3}, {"old"}),
        ([OLD, NEW, STARTING], {"new": 4}, set()),
        ([OLD, STARTING], {}, set()),
        ([NEW, STARTING], {}, set()),
        ([], {}, set()),
    ],
)
def test_older_pods_close_while_newer_ones_have_room(pods: list[Pod], calls: dict[str, int], closed: set[str]) -> None:
    assert outdated(pods, calls, slots=4) == closed


class Api:
    """The API server with one pod that lives and one that is being deleted; and a newer one when a test says so."""

    namespace = "calls"

    def __init__(self) -> None:
        self.newer: list[dict[str, Any]] = []
        self.asked = 0
        self.came = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self.deleted = {"leaving"}

    async def request(
        self, method: str, path: str, body: object = None, params: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        self.asked += 1
        self.came.set()
        deleted = self.deleted
        await self.answers.wait()
        if path.endswith("/replicasets"):
            sets = {"old": "1", "new": "2"}
            return 200, {
                "items": [
                    {
                        "metadata": {
                            "labels": {"pod-template-hash": hash_},
                            "annotations": {"deployment.kubernetes.io/revision": revision},
                        }
                    }
                    for hash_, revision in sets.items()
                ]
            }
        deletion = {"deletionTimestamp": "2026-11-24T13:00:25Z", "deletionGracePeriodSeconds": 25}
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        pods = [
            {
                "metadata": {"name": name, "labels": {"pod-template-hash": "old"}}
                | (deletion if name in deleted else {}),
                "status": status,
            }
            for name in ("staying", "leaving")
        ]
        return 200, {"items": [*pods, *({"metadata": each, "status": status} for each in self.newer)]}


async def test_a_pod_that_is_deleted_is_of_the_fleet_no_more_but_its_deletion_is_known() -> None:
    pods = FleetPods(cast(ApiServer, Api()), "app=worker")

    assert await pods.living() == frozenset({"staying"})
    assert pods.deletion("staying") is None
    assert pods.deletion("leaving") == Deletion(25, datetime(2026, 11, 24, 13, 0, 25, tzinfo=UTC))


async def test_all_who_ask_at_once_share_an_answer_that_one_of_them_does_not_wait_for() -> None:
    server = Api()
    pods = FleetPods(cast(ApiServer, server), "app=worker")
    server.answers.clear()
    impatient, *others = [asyncio.create_task(pods.living()) for _ in range(50)]
    await asyncio.sleep(0)

    impatient.cancel()
    server.answers.set()

    assert await asyncio.gather(*others) == [frozenset({"staying"})] * 49
    # Its pods, and its ReplicaSets.
    assert server.asked == 2


async def test_an_answer_that_comes_late_hides_no_later_one() -> None:
    server = Api()
    pods = FleetPods(cast(ApiServer, server), "app=worker")
    server.answers.clear()
    slow = asyncio.create_task(pods.all(fresh_s=0.0))
    await server.came.wait()
    late, server.answers = server.answers, asyncio.Event()
    server.answers.set()
    server.deleted = {"staying", "leaving"}

    assert await pods.all(fresh_s=0.0) == []
    late.set()
    assert await slow == [Pod("staying", 1, True)]

    assert await pods.all() == []
    assert pods.deletion("staying")


def test_a_deleted_pod_has_the_time_until_it_is_due() -> None:
    assert 20 < Deletion(25, datetime.now(UTC) + timedelta(seconds=24)).seconds_left <= 24


async def test_a_pod_that_asks_at_this_moment_is_told_of_one_that_is_newly_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("voice_agent.keeper.routes.NOW_SECONDS", 0.0)
    server = Api()
    pods = FleetPods(cast(ApiServer, server), "app=worker")
    store = MemoryStore()
    brain = Brain(cast(api.LiveKitAPI, None), store, AlwaysLeading(), pods, NoPeers())
    reach = Reach(cast(api.LiveKitAPI, None), AlwaysLeading(), NoPeers().reach_livekit)
    routes = Routes(TetherServer(store, SharedSecret("shared"), brain), brain, AlwaysLeading(), reach, pods, 4)
    async with TestClient(TestServer(routes.application())) as client:

        async def closed(query: str = "") -> bool:
            answer = await client.get(f"/v1/pods/staying{query}", headers={"Authorization": "Bearer shared"})
            told: bool = (await answer.json())["closed"]
            return told

        assert not await closed()
        server.newer = [{"name": "newer", "labels": {"pod-template-hash": "new"}}]
        assert await closed("?now")
