"""Which keeper leads, by a Lease on an API server that answers as the test likes; time is the test's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from voice_agent.keeper import leader
from voice_agent.keeper.leader import (
    ASIDE_SECONDS,
    DURATION_SECONDS,
    EARLY_SECONDS,
    MEET_SECONDS,
    REQUEST_SECONDS,
    RETRY_SECONDS,
    YOUNG_SECONDS,
    Leader,
)
from voice_agent.kubernetes import ApiServer


class Time:
    """The clock, and who waits for it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    @asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[None]:
        waiting, over = asyncio.current_task(), False
        assert waiting

        async def end() -> None:
            nonlocal over
            await self.sleep(seconds)
            over = True
            waiting.cancel()

        ending = asyncio.create_task(end())
        try:
            yield
        except asyncio.CancelledError:
            if over and not waiting.uncancel():
                raise TimeoutError from None
            raise
        finally:
            ending.cancel()

    async def pass_by(self, seconds: float) -> None:
        """Let time pass in small steps, so that everyone who waits acts in its turn."""
        for _ in range(round(seconds * 10)):
            self.now += 0.1
            for at, future in list(self._sleepers):
                if at <= self.now + 1e-9:
                    self._sleepers.remove((at, future))
                    if not future.done():
                        future.set_result(None)
            for _ in range(20):
                await asyncio.sleep(0)


class Cluster:
    """The one Lease, with optimistic locking as the API server has it."""

    namespace = "calls"

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.away: set[str] = set()
        self.odd = False
        """Whether it answers what nobody expects."""
        self.status = 200
        """Another one makes it refuse everything."""
        self.on_request: Callable[[], object] = lambda: None
        self.slow: Callable[[], Awaitable[None]] | None = None
        """What passes before it answers."""
        self.hangs: Callable[[float], Awaitable[None]] | None = None
        """Whether one waits for as long as one does until it does not answer."""
        self._version = 0

    def seen_by(self, pod: str) -> ApiServer:
        """The API server for one keeper, which may be cut off from it."""

        async def request(
            method: str, path: str, body: dict[str, Any] | None = None, *, seconds: float
        ) -> tuple[int, Any]:
            if pod in self.away:
                if self.hangs:
                    await self.hangs(seconds)
                raise OSError("refused")
            self.on_request()
            if self.slow:
                await self.slow()
            if self.odd:
                return 200, None
            if self.status != 200:
                return self.status, {"message": "busy"}
            return await self.request(method, path, body)

        return cast(ApiServer, SimpleNamespace(namespace=self.namespace, request=request))

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    async def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        if method == "GET":
            return (200, self.lease) if self.lease else (404, {})
        assert body is not None
        if method == "POST":
            if self.lease:
                return 409, {}
        # One that is gone has another uid than the body's.
        elif not self.lease or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return 409, {}
        self._version += 1
        self.lease = {"metadata": {"name": "keeper", "resourceVersion": str(self._version)}, "spec": body["spec"]}
        return 200, self.lease


class Keepers:
    """Keepers of one Lease."""

    def __init__(self, time: Time) -> None:
        self.time = time
        self.cluster = Cluster()
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.leaders: dict[str, Leader] = {}
        self.cut_off: set[str] = set()
        """Keepers that no other one reaches."""
        self.answers_after = 0.0
        """Seconds that a question to the others takes while one of them is cut off."""
        self.asked_by: list[str] = []

    def start(self, pod: str) -> None:
        async def another_leads() -> bool | None:
            self.asked_by.append(pod)
            others = {name for name in self.tasks if name != pod}
            if others & self.cut_off and self.answers_after:
                await self.time.sleep(self.answers_after)
            if any(self.leaders[name].leading for name in others - self.cut_off):
                return True
            return None if pod in self.cut_off or others & self.cut_off else False

        self.leaders[pod] = keeper = Leader(self.cluster.seen_by(pod), "keeper", pod, another_leads)
        self.tasks[pod] = asyncio.create_task(keeper.run())

    async def stop(self, pod: str) -> None:
        """As SIGTERM does."""
        self.tasks[pod].cancel()
        await asyncio.gather(self.tasks.pop(pod), return_exceptions=True)

    def kill(self, pod: str) -> None:
        """As SIGKILL does: nothing is given back."""
        self.leaders[pod]._release = _nothing  # type: ignore[method-assign]
        self.tasks.pop(pod).cancel()

    @property
    def leading(self) -> list[str]:
        return [pod for pod in self.tasks if self.leaders[pod].leading]

    async def led_for(self, seconds: float) -> list[list[str]]:
        """Let time pass, and tell of each tenth of a second who led."""
        led = []
        for _ in range(round(seconds * 10)):
            await self.time.pass_by(0.1)
            led.append(self.leading)
        return led


async def _nothing() -> None:
    pass


@pytest.fixture
def keepers(monkeypatch: pytest.MonkeyPatch) -> Keepers:
    time = Time()
    monkeypatch.setattr(leader, "time", time)
    monkeypatch.setattr(leader, "asyncio", time)
    return Keepers(time)


async def settled(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(1)
    keepers.start("two")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)
    assert keepers.leading == ["one"]


async def test_the_lease_shows_which_pod_leads(keepers: Keepers) -> None:
    keepers.start("voice-agent-keeper-7c9f-x2")
    await keepers.time.pass_by(1)

    assert keepers.cluster.holder.startswith("voice-agent-keeper-7c9f-x2_")


async def test_a_leader_that_begins_anew_in_its_pod_leaves_the_lead_to_the_keeper_that_saw_the_losses(
    keepers: Keepers,
) -> None:
    await settled(keepers)

    keepers.kill("one")
    keepers.start("one")
    led = await keepers.led_for(DURATION_SECONDS + 2 * RETRY_SECONDS)

    assert {pod for leading in led for pod in leading} == {"two"}


async def test_the_only_keeper_that_begins_anew_leads_soon(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)

    keepers.kill("one")
    keepers.start("one")
    await keepers.time.pass_by(DURATION_SECONDS - 0.5)
    assert keepers.leading == []
    await keepers.time.pass_by(3)
    assert keepers.leading == ["one"]


async def test_what_a_leader_gives_back_the_older_keeper_takes(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.start("three")
    # Just before the young one's turn to look, so that it would be first if it did not wait.
    await keepers.time.pass_by(0.4)
    await keepers.stop("one")
    await keepers.time.pass_by(2 * RETRY_SECONDS)

    assert keepers.leading == ["two"]


async def test_a_young_keeper_takes_what_nobody_else_does(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)
    keepers.start("two")
    await keepers.time.pass_by(1)

    await keepers.stop("one")
    await keepers.time.pass_by(2.5)

    assert keepers.leading == ["two"]


async def test_the_leader_goes_on_while_the_api_server_is_away_and_nobody_else_leads(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.cluster.away = {"one", "two"}
    for _ in range(60):
        await keepers.time.pass_by(1)
        assert keepers.leading == ["one"]
    keepers.cluster.away.clear()
    await keepers.time.pass_by(1)
    assert keepers.leading == ["one"]


async def test_a_leader_goes_on_without_a_break_while_the_api_server_hangs(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.cluster.away = {"one", "two"}
    keepers.cluster.hangs = keepers.time.sleep
    led = await keepers.led_for(30)
    # Else nothing would end: the Lease is given back.
    keepers.cluster.away.clear()

    assert all(leading == ["one"] for leading in led)


async def test_a_leader_whose_api_server_is_slow_leads_without_a_break(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)

    keepers.cluster.slow = lambda: keepers.time.sleep(0.9 * REQUEST_SECONDS)
    led = await keepers.led_for(30)
    keepers.cluster.slow = None

    assert all(leading == ["one"] for leading in led)


async def test_a_leader_whose_lease_is_deleted_makes_another(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)

    keepers.cluster.lease = None
    await keepers.time.pass_by(RETRY_SECONDS + 0.1)

    assert keepers.leading == ["one"]
    assert keepers.cluster.holder.startswith("one_")


async def test_the_others_know_the_leader_before_the_api_server_that_vouches_for_it_is_away(keepers: Keepers) -> None:
    await settled(keepers)

    for _ in range(3):
        keepers.asked_by.clear()
        await keepers.time.pass_by(MEET_SECONDS + 2 * RETRY_SECONDS)
        assert "one" in keepers.asked_by


async def test_a_keeper_leads_again_after_an_answer_that_nobody_expects(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(1)

    keepers.cluster.odd = True
    await keepers.time.pass_by(10)
    assert keepers.leading == []
    keepers.cluster.odd = False
    await keepers.time.pass_by(1)

    assert keepers.leading == ["one"]


async def test_a_leader_that_alone_is_cut_off_from_the_api_server_gives_way(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.cluster.away = {"one"}
    await keepers.time.pass_by(DURATION_SECONDS + 4)

    assert keepers.leading == ["two"]


async def test_a_leader_that_stands_aside_is_followed_at_once_and_does_not_come_back(keepers: Keepers) -> None:
    await settled(keepers)

    assert keepers.leaders["one"].stand_aside()
    assert keepers.leading == []
    await keepers.time.pass_by(2 * RETRY_SECONDS)
    assert keepers.leading == ["two"]
    await keepers.time.pass_by(2 * ASIDE_SECONDS)
    assert keepers.leading == ["two"]


async def test_a_leader_that_stands_aside_gives_the_lease_back(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)

    assert keepers.leaders["one"].stand_aside()
    await keepers.time.pass_by(2 * RETRY_SECONDS)
    assert keepers.cluster.holder == ""


async def test_a_leader_that_stands_aside_for_nobody_leads_again(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)

    assert keepers.leaders["one"].stand_aside()
    await keepers.time.pass_by(ASIDE_SECONDS - RETRY_SECONDS)
    assert keepers.leading == []
    await keepers.time.pass_by(2 * RETRY_SECONDS)
    assert keepers.leading == ["one"]


async def test_nobody_stands_aside_while_the_api_server_cannot_give_the_lease_to_another(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.cluster.away = {"one", "two"}
    await keepers.time.pass_by(1)
    assert not keepers.leaders["one"].stand_aside()
    await keepers.time.pass_by(1)

    assert keepers.leading == ["one"]


async def test_a_leader_that_stood_aside_while_it_asked_for_the_lease_leads_again_without_an_api_server(
    keepers: Keepers,
) -> None:
    await settled(keepers)
    keepers.cluster.away = {"two"}
    keepers.cluster.on_request = lambda: keepers.leaders["one"].stand_aside()
    await keepers.time.pass_by(RETRY_SECONDS)
    keepers.cluster.on_request = lambda: None
    keepers.cluster.away = {"one", "two"}
    assert keepers.leading == []
    await keepers.time.pass_by(ASIDE_SECONDS + 2 * RETRY_SECONDS)

    assert keepers.leading == ["one"]


async def test_a_lease_that_the_api_server_does_not_take_back_is_led_by(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)

    assert keepers.leaders["one"].stand_aside()
    keepers.cluster.status = 503
    await keepers.time.pass_by(2 * RETRY_SECONDS)
    keepers.cluster.status = 200
    await keepers.time.pass_by(RETRY_SECONDS)

    assert keepers.leading == ["one"]


async def test_who_does_not_lead_cannot_stand_aside(keepers: Keepers) -> None:
    await settled(keepers)

    assert not keepers.leaders["two"].stand_aside()
    await keepers.stop("one")
    await keepers.time.pass_by(2 * RETRY_SECONDS)
    assert keepers.leading == ["two"]


@pytest.mark.parametrize("given_back", [False, True])
async def test_a_leader_leads_again_where_the_api_server_goes_away_before_another_has_the_lease(
    keepers: Keepers, given_back: bool
) -> None:
    await settled(keepers)

    if given_back:
        keepers.cluster.away = {"two"}
        assert keepers.leaders["one"].stand_aside()
        await keepers.time.pass_by(RETRY_SECONDS)
        assert keepers.cluster.holder == ""
    else:
        assert keepers.leaders["one"].stand_aside()
    keepers.cluster.away = {"one", "two"}
    await keepers.time.pass_by(ASIDE_SECONDS + 2 * RETRY_SECONDS)

    assert keepers.leading == ["one"]


async def test_metrics_tell_who_leads(keepers: Keepers) -> None:
    keepers.start("one")
    await keepers.time.pass_by(YOUNG_SECONDS + 1)
    assert REGISTRY.get_sample_value("voice_agent_keeper_leading") == 1

    keepers.cluster.away = {"one"}
    keepers.cut_off = {"one"}
    await keepers.time.pass_by(DURATION_SECONDS + 1)
    assert REGISTRY.get_sample_value("voice_agent_keeper_leading") == 0


async def test_a_leader_that_knows_nothing_of_the_others_does_not_go_on(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.cluster.away = {"one", "two"}
    keepers.cut_off = {"one"}
    await keepers.time.pass_by(4)

    assert keepers.leading == []


async def test_a_leader_that_was_killed_is_followed_at_once(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.kill("one")
    await keepers.time.pass_by(2 * RETRY_SECONDS)

    assert keepers.leading == ["two"]


async def test_a_leader_of_which_nothing_is_heard_is_followed_when_its_lease_is_over(keepers: Keepers) -> None:
    await settled(keepers)

    keepers.cluster.away = {"one"}
    keepers.cut_off = {"one"}
    await keepers.time.pass_by(DURATION_SECONDS - EARLY_SECONDS - RETRY_SECONDS)
    assert "two" not in keepers.leading
    await keepers.time.pass_by(2 * RETRY_SECONDS)
    assert keepers.leading == ["two"]


@pytest.mark.parametrize("tenths", range(5))
async def test_a_question_that_a_lost_leader_cannot_answer_puts_off_nobody(keepers: Keepers, tenths: int) -> None:
    await settled(keepers)
    await keepers.time.pass_by(tenths / 10)

    keepers.answers_after = 0.6
    keepers.cluster.away = {"one"}
    keepers.cut_off = {"one"}
    # Its last renewal was seen within RETRY_SECONDS.
    led = await keepers.led_for(DURATION_SECONDS - EARLY_SECONDS + RETRY_SECONDS + 0.1)

    assert led[-1] == ["two"]
    assert ["one", "two"] not in led


async def test_who_follows_a_lost_leader_leads_on_though_the_api_server_is_slow(keepers: Keepers) -> None:
    await settled(keepers)
    keepers.cluster.slow = lambda: keepers.time.sleep(0.25)
    keepers.answers_after = 0.6
    keepers.cluster.away = {"one"}
    keepers.cut_off = {"one"}

    led = await keepers.led_for(2 * DURATION_SECONDS + 4)
    keepers.cluster.slow = None

    begins = led.index(["two"])
    assert led[begins:] == [["two"]] * len(led[begins:])
