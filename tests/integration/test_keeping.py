"""A call tells the keepers what another pod needs to go on with it, and another pod does."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from cryptography.fernet import Fernet
from livekit import api
from pydantic import JsonValue

from lab.callers import CallFleet, CallPlan
from lab.gemini import Simulator, simulator
from lab.livekit import LiveKit
from lab.peer import dispatch, participant, remove_agents
from lab.two_pods import one_pod, two_pods
from lab.worker import environment, worker
from voice_agent.call.errand import Errand, Kind, write
from voice_agent.call.snapshot import Snapshot, decode
from voice_agent.state.memory import MemoryStore
from voice_agent.state.seal import Seal
from voice_agent.state.store import Snapshot as Kept
from voice_agent.state.store import Stamp
from voice_agent.tether.auth import SharedSecret
from voice_agent.tether.server import TetherServer
from voice_agent.tether.wire import Ending, Loss, Tethered

SECRET = "of the fleet"  # noqa: S105 - protects nothing
KEY = Fernet.generate_key().decode()
RESTORED = 'voice_agent_restores_total{{kind="recovery",reason="{reason}",result="{result}"}}'
AGENTS = str(Path(__file__).parent / "agents")


@dataclass
class Keeper:
    """A tether server, and what it was told.

    Attributes:
        ahead: seconds by which its store's clock is fast.
    """

    url: str = ""
    ahead: float = 0.0
    store: MemoryStore = field(init=False)
    calls: list[Tethered] = field(default_factory=list)
    ended: asyncio.Queue[tuple[Tethered, Loss | Ending]] = field(default_factory=asyncio.Queue)
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.store = MemoryStore(clock=lambda: time.monotonic() + self.ahead)

    def on_call(self, call: Tethered) -> None:
        self.calls.append(call)
        self._came.set()

    async def tethered(self, count: int = 1) -> Tethered:
        """The latest of so many: an agent may have answered before the keepers know of it."""
        async with asyncio.timeout(30):
            while len(self.calls) < count:
                self._came.clear()
                await self._came.wait()
        return self.calls[count - 1]

    def on_state(self, call: Tethered, state: dict[str, JsonValue]) -> None:
        pass

    def on_lost(self, call: Tethered, loss: Loss) -> None:
        self.ended.put_nowait((call, loss))

    def on_goodbye(self, call: Tethered, ending: Ending) -> None:
        self.ended.put_nowait((call, ending))

    def died(self, call: str) -> int:
        return 0

    def recovers(self, call: str) -> bool:
        return False

    async def whole_snapshot(self, call: Tethered) -> Snapshot:
        """The first that has Gemini's handle, which comes after the turn."""
        async with asyncio.timeout(10):
            while True:
                kept = await self.store.get(call.call)
                if kept and kept.snapshot:
                    snapshot = decode(Seal([KEY]).open(call.call, kept.snapshot.sealed))
                    if snapshot.model.handle:
                        return snapshot
                await asyncio.sleep(0.1)


@asynccontextmanager
async def _keeper() -> AsyncIterator[Keeper]:
    keeper = Keeper()
    server = TetherServer(keeper.store, SharedSecret(SECRET), keeper)
    runner = web.AppRunner(server.application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    keeper.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield keeper
    finally:
        await runner.cleanup()


@pytest.fixture
async def keeper() -> AsyncIterator[Keeper]:
    async with _keeper() as running:
        yield running


@pytest.fixture
def variables(variables: dict[str, str], keeper: Keeper) -> dict[str, str]:
    return variables | {
        "KEEPER_URL": keeper.url,
        "KEEPER_SECRET": SECRET,
        "STATE_KEYS": KEY,
        "DRAIN_FINISH_WITHIN_SECONDS": "0",
        "AGENT_CLASS": "cart_agent:Cart",
        "PYTHONPATH": AGENTS,
    }


async def _recover(livekit: LiveKit, call: Tethered) -> None:
    errand = Errand(kind=Kind.RECOVERY, caller=call.caller, epoch=call.epoch + 1)
    async with api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client:
        await client.room.remove_participant(api.RoomParticipantIdentity(room=call.room, identity=call.agent_identity))
        await client.agent_dispatch.create_dispatch(
            api.CreateAgentDispatchRequest(agent_name=call.agent_name, room=call.room, metadata=write(errand))
        )


async def test_a_dead_pods_call_goes_on_with_its_memory(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    async with two_pods(variables, plan) as (one, two, fleet):
        await fleet.more_answers(2)
        one.send_to_group(signal.SIGKILL)
        lost, loss = await asyncio.wait_for(keeper.ended.get(), 10)
        await _recover(livekit, lost)
        cart = await two.logged("cart taken up")
        recovered = await two.logged("call recovered")
        await fleet.more_answers(2)
        assert await two.metric(RESTORED.format(reason="", result="restored")) == 1
        [report] = await fleet.finish()
    assert loss is Loss.CLOSED
    assert recovered["memory_kept"]
    assert cart["message"].endswith("['welcome gift', 'apple']")
    assert report.pods == ["one", "two"]
    assert report.memory_kept, report.turns
    assert not report.lost
    # The turn that was under way when the pod died.
    assert report.lost_turns <= 1
    assert report.answered_twice <= 1
    assert [(call.pod, call.epoch) for call in keeper.calls] == [("one", 1), ("two", 2)]


async def test_a_snapshot_that_cannot_be_opened_makes_a_new_conversation_and_is_counted(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    async with two_pods(variables, plan, only_two={"STATE_KEYS": Fernet.generate_key().decode()}) as (one, two, fleet):
        one.send_to_group(signal.SIGKILL)
        lost, _ = await asyncio.wait_for(keeper.ended.get(), 10)
        await _recover(livekit, lost)
        assert not (await two.logged("call recovered"))["memory_kept"]
        await fleet.more_answers(1)
        assert await two.metric(RESTORED.format(reason="unknown_key", result="fresh")) == 1
        await fleet.finish()


async def test_a_snapshot_that_cannot_be_restored_makes_a_new_conversation_and_is_counted(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    async with two_pods(variables, plan) as (one, two, fleet):
        snapshot = await keeper.whole_snapshot(await keeper.tethered())
        one.send_to_group(signal.SIGKILL)
        lost, _ = await asyncio.wait_for(keeper.ended.get(), 10)
        # As a later livekit-agents may write it.
        agent = snapshot.agent.model_copy(update={"chat": {"items": [{"type": "of tomorrow"}]}})
        sealed = Seal([KEY]).seal(lost.call, snapshot.model_copy(update={"agent": agent}).encode())
        assert await keeper.store.put(lost.call, Kept(Stamp(lost.epoch, 2**31), sealed))
        await _recover(livekit, lost)
        await two.logged("cart opened")
        assert not (await two.logged("call recovered"))["memory_kept"]
        await fleet.more_answers(2)
        assert await two.metric(RESTORED.format(reason="broken", result="fresh")) == 1
        [report] = await fleet.finish()
    assert not report.lost
    assert report.pods == ["one", "two"]


async def test_an_agent_that_dies_before_it_has_the_conversation_is_known_to_be_lost(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    async with two_pods(variables | {"AGENT_CLASS": "slow_agent:Slow"}, plan) as (one, two, _):
        await keeper.whole_snapshot(await keeper.tethered())
        one.send_to_group(signal.SIGKILL)
        lost, _ = await asyncio.wait_for(keeper.ended.get(), 10)
        await _recover(livekit, lost)
        await keeper.tethered(2)
        two.send_to_group(signal.SIGKILL)
        second, loss = await asyncio.wait_for(keeper.ended.get(), 10)
    assert (second.pod, second.epoch, loss) == ("two", 2, Loss.CLOSED)


async def test_an_agent_that_is_taken_out_of_the_room_is_not_followed_by_another(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    """A person may go on with the call."""
    async with one_pod(variables, plan):
        await remove_agents(livekit, f"{plan.room}-1")
        _, ending = await asyncio.wait_for(keeper.ended.get(), 30)
    assert ending is Ending.FINISHED


async def test_a_pod_that_dies_while_an_answer_is_played_that_came_whole_costs_no_memory(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, gemini: Simulator, keeper: Keeper
) -> None:
    # Gemini is quick to speak; its handle comes when it thinks that all was played.
    gemini.behaviour.update({"answer_s": 6.0, "pace": 12.0})
    async with two_pods(variables, plan) as (one, _two, fleet):
        await fleet.more_answers(1)
        call = await keeper.tethered()
        asked = f"call 1 question {gemini.turns[-1].question}"
        async with asyncio.timeout(10):
            while asked not in str((snapshot := await keeper.whole_snapshot(call)).agent.chat):  # noqa: ASYNC110 - it comes
                await asyncio.sleep(0.05)
        told = {item["id"] for item in snapshot.agent.chat["items"] if asked in str(item)}
        assert not told & set(snapshot.model.covered_items), "it was played already"
        one.send_to_group(signal.SIGKILL)
        lost, _ = await asyncio.wait_for(keeper.ended.get(), 10)
        await _recover(livekit, lost)
        await fleet.more_answers(2)
        [report] = await fleet.finish()
    assert report.pods == ["one", "two"]
    assert report.memory_kept, report.story


async def test_an_agent_whose_place_in_the_room_is_taken_is_lost(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    async with one_pod(variables, plan):
        call = await keeper.tethered()
        async with participant(livekit, call.room, call.agent_identity):
            _, loss = await asyncio.wait_for(keeper.ended.get(), 30)
    assert loss is Loss.CLOSED


async def test_an_agent_that_cannot_reach_the_model_leaves_its_caller_to_the_keepers(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    async with AsyncExitStack() as near:
        variables |= environment(livekit, await near.enter_async_context(simulator()))
        async with one_pod(variables | {"GEMINI_RECONNECT_SECONDS": "1"}, plan) as (one, _):
            await near.aclose()
            await one.logged("call over: error")
            _, loss = await asyncio.wait_for(keeper.ended.get(), 30)
    assert loss is Loss.CLOSED


@pytest.mark.parametrize("network", ["refuses", "drops"])
async def test_a_pod_that_takes_a_call_up_and_cannot_reach_the_model_leaves_it_to_the_keepers_and_knows_why(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper, tmp_path: Path, network: str
) -> None:
    async with AsyncExitStack() as near:
        gemini = await near.enter_async_context(simulator())
        certificate = str(shutil.copy(gemini.certificate, tmp_path))
        there = environment(livekit, gemini) | {"SSL_CERT_FILE": certificate, "GEMINI_RECONNECT_SECONDS": "1"}
        # Not before the agent does, does the caller give up.
        async with two_pods(variables, replace(plan, give_up_after=10), only_two=there) as (one, two, _):
            await keeper.whole_snapshot(await keeper.tethered())
            await near.aclose()
            if network == "drops":
                # What is never accepted is connected to, and gets no answer.
                address = urlsplit(gemini.url)
                near.enter_context(socket.create_server((address.hostname, address.port)))
            one.send_to_group(signal.SIGKILL)
            lost, _ = await asyncio.wait_for(keeper.ended.get(), 10)
            await _recover(livekit, lost)
            second, loss = await asyncio.wait_for(keeper.ended.get(), 60)
            assert await two.metric('voice_agent_gemini_lost_total{why="unreachable"}') == 1
            assert await two.metric(RESTORED.format(reason="", result="restored")) == 0
    assert (second.pod, second.epoch, loss) == ("two", 2, Loss.CLOSED)


async def test_an_agent_that_livekit_sends_by_itself_goes_on_with_the_memory(
    variables: dict[str, str], plan: CallPlan, livekit: LiveKit, keeper: Keeper
) -> None:
    async with two_pods(variables, plan) as (one, two, fleet):
        await fleet.more_answers(2)
        one.send_to_group(signal.SIGKILL)
        lost, _ = await asyncio.wait_for(keeper.ended.get(), 10)
        await remove_agents(livekit, lost.room)
        await dispatch(livekit, lost.room, lost.agent_name)
        cart = await two.logged("cart taken up")
        recovered = await two.logged("call recovered")
        await fleet.more_answers(2)
        [report] = await fleet.finish()
    assert recovered["memory_kept"]
    assert cart["message"].endswith("['welcome gift', 'apple']")
    assert report.pods == ["one", "two"]
    assert report.memory_kept, report.turns
    assert [(call.pod, call.epoch) for call in keeper.calls] == [("one", 1), ("two", 2)]


async def test_a_call_says_goodbye_when_it_moves_and_when_it_ends(
    variables: dict[str, str], plan: CallPlan, keeper: Keeper
) -> None:
    async with two_pods(variables, plan) as (one, _two, fleet):
        one.send(signal.SIGTERM)
        assert await one.exit_code() == 0
        await fleet.more_answers(1)
        moved, why = await asyncio.wait_for(keeper.ended.get(), 10)
        assert (moved.pod, why) == ("one", Ending.HANDED_OVER)
        await fleet.finish()
        ended, why = await asyncio.wait_for(keeper.ended.get(), 30)
    assert (ended.pod, ended.epoch, why) == ("two", 2, Ending.CALLER_LEFT)
    assert await keeper.store.get(ended.call), "the caller may be back"
    keeper.ahead = 60.0
    assert await keeper.store.get(ended.call) is None


async def test_snapshots_follow_the_call_and_cannot_be_read_without_the_key(
    variables: dict[str, str], plan: CallPlan, keeper: Keeper
) -> None:
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            await fleet.more_answers(2)
            call = await keeper.tethered()
            snapshot = await keeper.whole_snapshot(call)
            kept = await keeper.store.get(call.call)
            await fleet.finish()
    assert kept is not None
    assert kept.snapshot is not None
    assert b"question" not in kept.snapshot.sealed
    assert "question 2" in str(snapshot.agent.chat)
    assert snapshot.pod == "one"


async def test_a_superseded_agent_leaves_without_a_word(
    variables: dict[str, str], plan: CallPlan, keeper: Keeper
) -> None:
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            call = await keeper.tethered()
            # What a keeper does before it sends another agent.
            await keeper.store.claim(call.call, above=call.epoch)
            await one.logged("another agent has the call")
            await one.logged("call moved")


async def test_a_call_that_takes_too_much_memory_takes_no_other_with_it(
    variables: dict[str, str], plan: CallPlan, keeper: Keeper
) -> None:
    variables |= {"AGENT_CLASS": "greedy_agent:Greedy", "CALL_MEMORY_LIMIT_MIB": "300"}
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(replace(plan, give_up_after=1), 2) as fleet:
            lost, loss = await asyncio.wait_for(keeper.ended.get(), 60)
            await fleet.more_answers(2)
            reports = await fleet.finish()
    assert (lost.room, loss) == (f"{plan.room}-1", Loss.CLOSED)
    assert reports[1].ok, reports[1].findings


async def test_without_any_keeper_calls_go_on(variables: dict[str, str], plan: CallPlan) -> None:
    variables |= {"KEEPER_URL": "http://127.0.0.1:9"}
    async with worker(variables, pod="one") as one:
        await one.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            await fleet.more_answers(2)
            [report] = await fleet.finish()
    assert report.ok, report.findings
