"""A call's process and a keeper at the two ends of a tether, over real connections."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import aiohttp
import pytest
from pydantic import JsonValue

from voice_agent.state.memory import MemoryStore
from voice_agent.state.store import Kept, Snapshot, Stamp, StoreError
from voice_agent.tether import server, wire
from voice_agent.tether.ask import Keepers
from voice_agent.tether.server import Sight
from voice_agent.tether.wire import Ending, Epoch, Loss, Tethered

from .noting_keeper import CALL, DEADLINE, SECRET, keeper, tether, until

# The job as a process of its own, so that it can be killed and stopped as a whole.
JOB = """
import asyncio, json, sys
from voice_agent.tether.client import Tether
from voice_agent.tether.wire import Tethered
call, url = json.loads(sys.argv[1]), sys.argv[2]
async def main():
    async with Tether(Tethered(*call), url, lambda: "shared", lambda epoch: None) as tether:
        tether.put_snapshot(b"sealed")
        await asyncio.Event().wait()
asyncio.run(main())
"""


@asynccontextmanager
async def job(url: str, call: Tethered = CALL) -> AsyncIterator[asyncio.subprocess.Process]:
    arguments = wire.hello(call).model_dump(exclude={"type"})
    values = [arguments[name] for name in Tethered.__dataclass_fields__]
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", JOB, json.dumps(values), url)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_killed_process_is_a_loss_at_once_and_its_snapshot_is_there() -> None:
    async with keeper() as watching, job(watching.url) as process:
        await watching.told("call", 1)
        await watching.keeps(b"sealed")
        process.kill()
        await watching.told(Loss.CLOSED, 1)
        assert await Keepers(watching.url, lambda: SECRET).snapshot(CALL.call) == b"sealed"


async def test_a_state_that_must_be_known_first_is_waited_for_but_not_from_a_keeper_that_is_gone() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        gone = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        async with keeper() as watching, tether(f"{watching.url},{gone}") as tethered:
            state: dict[str, JsonValue] = {"agent": "restoring"}
            await tethered.tell_state(state)
            assert any(link.sent_state is state for link, _ in list(tethered._links.values()))
            await watching.told("state", state)
        async with tether(gone) as tethered:
            await tethered.tell_state(state)


async def test_a_process_that_stands_still_is_silent_and_is_back_when_it_goes_on() -> None:
    async with keeper(silence_seconds=1.5) as watching, job(watching.url) as process:
        await watching.told("call", 1)
        os.kill(process.pid, signal.SIGSTOP)
        await watching.told(Loss.SILENT, 1)
        assert not list(watching.server.calls)
        os.kill(process.pid, signal.SIGCONT)
        await watching.told("call", 1, times=2)
        assert list(watching.server.calls) == [CALL]


async def test_that_a_keeper_closes_a_silent_connection_tells_nothing_of_the_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "_FORGET_SECONDS", 1.6)
    async with keeper(silence_seconds=1.5) as one, job(one.url) as process:
        await one.told("call", 1)
        process.send_signal(signal.SIGSTOP)
        await one.told(Loss.SILENT, 1)
        await until(lambda: not one.server._tethers)
        process.send_signal(signal.SIGCONT)
        await one.told("call", 1, times=2)
        assert (Loss.CLOSED, 1) not in one.events


async def test_what_is_not_heard_for_half_of_that_time_is_not_surely_in_sight() -> None:
    async with keeper(silence_seconds=30) as one, job(one.url) as process:
        await one.told("call", 1)
        assert one.server.sight() == Sight(steady=frozenset([CALL]))
        process.send_signal(signal.SIGSTOP)
        [tether] = one.server._tethers
        await until(lambda: time.monotonic() - tether.heard_at > 1)
        tether.heard_at -= 15
        assert one.server.sight() == Sight(faltering=frozenset([CALL]))
        process.send_signal(signal.SIGCONT)
        await until(lambda: one.server.sight() == Sight(steady=frozenset([CALL])))


@pytest.mark.parametrize(("ending", "forgotten"), [(Ending.FINISHED, True), (Ending.HANDED_OVER, False)])
async def test_a_goodbye_is_no_loss_and_only_the_end_of_a_call_forgets_it(ending: Ending, forgotten: bool) -> None:
    async with keeper() as watching:
        async with tether(watching.url) as tethered:
            tethered.put_snapshot(b"one")
            await watching.keeps(b"one")
            tethered.goodbye(ending)
        await watching.told("goodbye", ending)
        await until(lambda: (CALL.call not in watching.store._entries) == forgotten)
        assert watching.events == [("call", 1), ("goodbye", ending)]


class _Noting(MemoryStore):
    """A store that tells when it was asked to forget."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = asyncio.Event()
        super().__init__(clock=lambda: self.now)

    async def delete(self, call: str, epoch: int, after: float = 0.0) -> bool:
        forgotten = await super().delete(call, epoch, after)
        self.asked.set()
        return forgotten


@pytest.mark.parametrize("back", [True, False])
async def test_the_memory_of_a_call_waits_as_long_as_a_caller_who_has_left_may_come_back(*, back: bool) -> None:
    store = _Noting()
    async with keeper(store=store) as watching:
        keepers = Keepers(watching.url, lambda: SECRET)
        async with tether(watching.url) as tethered:
            tethered.put_snapshot(b"one")
            await watching.keeps(b"one")
            tethered.goodbye(Ending.CALLER_LEFT)
        async with asyncio.timeout(DEADLINE):
            await store.asked.wait()
        # The last who can be in the room again, and ten seconds until they are found.
        store.now = 27.0
        assert await keepers.snapshot(CALL.call) == b"one"
        if back:
            assert (await keepers.claim(CALL.call, above=1)).epoch == 2
        store.now = 31.0
        assert await keepers.snapshot(CALL.call) == (b"one" if back else None)


async def test_whoever_else_calls_an_agent_to_a_caller_who_had_left_asks_for_a_new_conversation() -> None:
    async with keeper() as watching:
        keepers = Keepers(watching.url, lambda: SECRET)
        async with tether(watching.url) as tethered:
            tethered.put_snapshot(b"one")
            await watching.keeps(b"one")
            tethered.goodbye(Ending.CALLER_LEFT)
        await until(lambda: CALL.call in watching.server._left)
        assert await keepers.snapshot(CALL.call) == b"one"
        assert await keepers.epoch(CALL.call) == Epoch(epoch=0, held=False)
        assert await keepers.snapshot(CALL.call) is None


async def test_a_call_that_has_an_agent_again_is_not_forgotten_when_that_one_dies() -> None:
    async with keeper() as watching:
        keepers = Keepers(watching.url, lambda: SECRET)
        async with tether(watching.url) as tethered:
            await watching.told("call", 1)
            tethered.goodbye(Ending.CALLER_LEFT)
        await until(lambda: CALL.call in watching.server._left)
        async with job(watching.url) as process:
            await watching.keeps(b"sealed")
            process.kill()
            await watching.told(Loss.CLOSED, 1)
        assert (await keepers.epoch(CALL.call)).epoch == 1
        assert await keepers.snapshot(CALL.call) == b"sealed"


async def test_snapshots_of_a_call_that_was_let_go_of_and_taken_again_are_the_later_ones() -> None:
    async with keeper() as watching:
        async with tether(watching.url) as first:
            first.put_snapshot(b"one")
            first.put_snapshot(b"two")
            await watching.keeps(b"two")
        async with tether(watching.url, sequence=first.sequence) as again:
            again.put_snapshot(b"three")
            await watching.keeps(b"three")


async def test_every_keeper_is_told_also_one_that_comes_later_at_the_same_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(keeper())
        tethered = await stack.enter_async_context(tether(f"{first.url},http://127.0.0.1:{port}"))
        await first.told("call", 1)
        tethered.put_snapshot(b"one")
        tethered.put_snapshot(b"two")
        tethered.put_state({"turns": 2})
        second = await stack.enter_async_context(keeper(port=port))
        await second.told("call", 1)
        await second.told("state", {"turns": 2})
        for each in (first, second):
            await each.keeps(b"two")


async def test_a_keeper_that_stops_reports_no_loss_and_the_calls_come_back_to_the_next() -> None:
    async with AsyncExitStack() as stack:
        async with keeper() as first:
            tethered = await stack.enter_async_context(tether(first.url))
            tethered.put_snapshot(b"one")
            await first.keeps(b"one")
        assert first.events == [("call", 1)]
        second = await stack.enter_async_context(keeper(port=int(first.url.rpartition(":")[2])))
        await second.told("call", 1)
        await second.keeps(b"one")


async def test_the_keeper_knows_of_a_call_that_is_let_go_of_at_once() -> None:
    async with keeper() as watching:
        async with tether(watching.url):
            pass
        await watching.told("call", 1)
        await watching.told(Loss.CLOSED, 1)


async def test_a_call_goes_on_without_any_keeper() -> None:
    async with asyncio.timeout(DEADLINE):
        async with tether("http://127.0.0.1:9,http://keeper.invalid:1") as tethered:
            tethered.put_snapshot(b"one")
            tethered.goodbye(Ending.FINISHED)


async def test_blocking_the_calls_own_loop_is_not_silence() -> None:
    code = JOB.replace("await asyncio.Event().wait()", "__import__('time').sleep(60)")
    async with keeper(silence_seconds=2.0) as watching:
        values = [getattr(CALL, name) for name in Tethered.__dataclass_fields__]
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, json.dumps(values), watching.url)
        try:
            await watching.told("call", 1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(4):
                    await watching.told(Loss.SILENT, 1)
        finally:
            process.kill()
            await process.wait()


async def test_an_agent_that_comes_back_after_another_took_its_call_is_told_so() -> None:
    superseded: asyncio.Queue[int] = asyncio.Queue()
    async with keeper() as watching:
        await watching.store.claim(CALL.call, above=1)
        async with tether(watching.url, on_superseded=superseded.put_nowait):
            assert await asyncio.wait_for(superseded.get(), DEADLINE) == 2
        await asyncio.sleep(0)
        assert (Loss.CLOSED, 1) not in watching.events


async def test_an_agent_is_told_while_it_is_tethered_that_another_takes_its_call() -> None:
    superseded: asyncio.Queue[int] = asyncio.Queue()
    async with keeper() as watching, tether(watching.url, on_superseded=superseded.put_nowait):
        await watching.told("call", 1)
        await watching.server.supersede(CALL.call, await watching.store.claim(CALL.call, above=1))
        assert await asyncio.wait_for(superseded.get(), DEADLINE) == 2


async def test_an_agent_that_dies_when_it_is_told_to_leave_does_not_count_as_there() -> None:
    async with keeper() as watching, job(watching.url) as leaves:
        await watching.told("call", 1)
        leaves.send_signal(signal.SIGSTOP)
        await watching.server.supersede(CALL.call, 2)
        assert not list(watching.server.calls)
        leaves.kill()
        await watching.told("goodbye", Ending.SUPERSEDED)


async def test_an_agent_that_falls_silent_when_it_is_told_to_leave_does_not_count_as_there() -> None:
    async with keeper(silence_seconds=1.0) as watching, job(watching.url) as leaves:
        await watching.told("call", 1)
        await watching.server.supersede(CALL.call, 2)
        leaves.send_signal(signal.SIGSTOP)
        await watching.told("goodbye", Ending.SUPERSEDED)
        leaves.send_signal(signal.SIGCONT)
        await until(lambda: not watching.server._tethers)
        assert set(watching.events) == {("call", 1), ("goodbye", Ending.SUPERSEDED)}
        assert watching.events.count(("call", 1)) == 1, "it is back, and nobody's agent"


async def test_a_call_whose_successor_is_tethered_is_not_lost_with_the_old_process() -> None:
    async with keeper() as watching, job(watching.url) as old:
        await watching.told("call", 1)
        async with tether(watching.url, replace(CALL, epoch=2)):
            await watching.told("call", 2)
            old.kill()
            await until(lambda: len(list(watching.server.calls)) == 1)
            assert watching.events == [("call", 1), ("call", 2)]


async def test_a_call_is_lost_with_the_one_of_two_agents_for_which_the_other_leaves() -> None:
    leaves = replace(CALL, agent_identity="agent-0")
    async with keeper() as watching, job(watching.url) as stays, tether(watching.url, leaves):
        await watching.told("call", 1, times=2)
        stays.kill()
        await watching.told(Loss.CLOSED, 1)


async def test_without_the_secret_nothing_is_told_and_nothing_learnt() -> None:
    async with keeper() as watching:
        await watching.store.put(CALL.call, Snapshot(Stamp(1, 1), b"sealed"))
        async with tether(watching.url, secret="guessed"):  # noqa: S106 - a wrong one
            assert await Keepers(watching.url, lambda: "guessed").snapshot(CALL.call) is None
            async with aiohttp.ClientSession() as session:
                for path in (wire.TETHER_PATH, wire.SNAPSHOT_PATH, wire.EPOCH_PATH):
                    async with session.get(f"{watching.url}{path}") as answer:
                        assert answer.status == 403
        assert watching.events == []


@pytest.mark.parametrize("message", ["", "{}", '{"type": "hello"}', '{"type": "goodbye", "ending": "finished"}', b"x"])
async def test_what_does_not_begin_with_a_hello_is_closed(message: str | bytes) -> None:
    async with keeper() as watching, aiohttp.ClientSession(headers={"Authorization": f"Bearer {SECRET}"}) as session:
        async with session.ws_connect(f"{watching.url}{wire.TETHER_PATH}") as connection:
            await (connection.send_bytes(message) if isinstance(message, bytes) else connection.send_str(message))
            answer = await connection.receive(timeout=DEADLINE)
            assert answer.type is aiohttp.WSMsgType.CLOSE
        assert watching.events == []


class _Hanging(MemoryStore):
    """A store whose server takes connections and never answers, until it does."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = asyncio.Event()

    async def get(self, call: str) -> Kept | None:
        await self.answers.wait()
        return await super().get(call)

    async def put(self, call: str, snapshot: Snapshot) -> bool:
        await self.answers.wait()
        return await super().put(call, snapshot)


async def test_a_store_that_hangs_makes_no_call_silent_and_gets_the_snapshot_later() -> None:
    store = _Hanging()
    async with keeper(silence_seconds=0.5, store=store) as watching, tether(watching.url) as tethered:
        await watching.told("call", 1)
        tethered.put_snapshot(b"one")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await watching.told(Loss.SILENT, 1)
        store.answers.set()
        await watching.keeps(b"one")


class _Failing(MemoryStore):
    """A store that is away for the first request."""

    failures = 1

    async def put(self, call: str, snapshot: Snapshot) -> bool:
        if self.failures:
            self.failures -= 1
            raise StoreError("away")
        return await super().put(call, snapshot)


async def test_a_snapshot_is_kept_once_the_store_is_back() -> None:
    async with keeper(store=_Failing()) as watching, tether(watching.url) as tethered:
        tethered.put_snapshot(b"one")
        await watching.keeps(b"one")
