"""Every store keeps calls alike; and Redis in the ways that operators run it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from lab.gemini.certificates import write_certificate
from lab.ports import free_port
from lab.redis import RedisServer, redis_server
from voice_agent.state.layered import LayeredStore
from voice_agent.state.memory import MemoryStore
from voice_agent.state.redis import RedisAddress, RedisStore
from voice_agent.state.store import Kept, Snapshot, Stamp, Store, StoreError

CALL = "RM_1/caller"
TTL_SECONDS = 1.0


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture(params=["memory", "redis", "layered"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store in which nothing is kept yet."""
    made: Store
    if request.param == "memory":
        made = MemoryStore()
    else:
        server: RedisServer = request.getfixturevalue("redis")
        made = RedisStore(RedisAddress(f"redis://127.0.0.1:{server.port}").connect(), prefix=f"{request.node.name}:")
        made = LayeredStore(MemoryStore(), made) if request.param == "layered" else made
    yield made
    await made.close()


@pytest.fixture(params=["memory", "redis"])
async def brief(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """A store that keeps calls for a second."""
    made: Store
    if request.param == "memory":
        made = MemoryStore(TTL_SECONDS)
    else:
        server: RedisServer = request.getfixturevalue("redis")
        address = RedisAddress(f"redis://127.0.0.1:{server.port}")
        made = RedisStore(address.connect(), prefix=f"{request.node.name}:", ttl_seconds=TTL_SECONDS)
    yield made
    await made.close()


def snapshot(epoch: int, sequence: int, sealed: bytes | None = None) -> Snapshot:
    return Snapshot(Stamp(epoch, sequence), sealed or b"%d.%d" % (epoch, sequence))


async def test_nothing_is_known_of_an_unknown_call(store: Store) -> None:
    assert await store.get(CALL) is None


async def test_a_snapshot_comes_back_byte_for_byte(store: Store) -> None:
    everything = snapshot(1, 0, bytes(range(256)) * 4096)
    assert await store.put(CALL, everything)
    assert await store.get(CALL) == Kept(1, everything)
    assert await store.get("RM_1/another") is None


@pytest.mark.parametrize(
    ("later", "earlier"),
    [((1, 2), (1, 1)), ((2, 0), (1, 9)), ((1, 1), (1, 1)), ((10, 0), (9, 0)), ((1, 10), (1, 9))],
)
async def test_a_late_snapshot_does_not_replace_a_later_one(
    store: Store, later: tuple[int, int], earlier: tuple[int, int]
) -> None:
    assert await store.put(CALL, snapshot(*later))
    assert not await store.put(CALL, snapshot(*earlier, b"late"))
    assert await store.get(CALL) == Kept(later[0], snapshot(*later))


async def test_the_order_of_arrival_of_those_that_go_up_does_not_matter(store: Store) -> None:
    for stamp in [(1, 0), (1, 1), (2, 0), (2, 7), (11, 0)]:
        assert await store.put(CALL, snapshot(*stamp))
        assert await store.get(CALL) == Kept(stamp[0], snapshot(*stamp))


async def test_a_claim_fences_who_had_the_call_and_keeps_what_it_wrote(store: Store) -> None:
    await store.put(CALL, snapshot(1, 5))
    assert await store.claim(CALL) == 2
    assert not await store.put(CALL, snapshot(1, 6))
    assert await store.get(CALL) == Kept(2, snapshot(1, 5))
    assert await store.put(CALL, snapshot(2, 0))
    assert await store.get(CALL) == Kept(2, snapshot(2, 0))


@pytest.mark.parametrize(("above", "epoch"), [(0, 1), (1, 2), (41, 42)])
async def test_a_claim_goes_above_what_the_keeper_was_told(store: Store, above: int, epoch: int) -> None:
    assert await store.claim(CALL, above) == epoch
    assert await store.get(CALL) == Kept(epoch, None)


async def test_no_two_claims_get_one_epoch(store: Store) -> None:
    claimed = await asyncio.gather(*[store.claim(CALL) for _ in range(50)])
    assert sorted(claimed) == list(range(1, 51))


async def test_a_call_that_ended_is_forgotten_unless_another_has_it_by_now(store: Store) -> None:
    await store.put(CALL, snapshot(1, 0))
    await store.claim(CALL)
    assert not await store.delete(CALL, 1)
    assert await store.get(CALL) == Kept(2, snapshot(1, 0))
    assert await store.delete(CALL, 2)
    assert await store.get(CALL) is None
    assert await store.delete(CALL, 2)


@pytest.mark.parametrize("again", [True, False], ids=["goes on", "over"])
async def test_a_call_whose_caller_may_be_back_is_forgotten_later_unless_it_goes_on(
    store: Store, *, again: bool
) -> None:
    await store.put(CALL, snapshot(1, 0))
    assert await store.delete(CALL, 1, after=0.5)
    if again:
        assert await store.claim(CALL) == 2
    else:
        assert await store.get(CALL) == Kept(1, snapshot(1, 0))
    await store.put("RM_2/another", snapshot(1, 0))
    await store.delete("RM_2/another", 1, after=0.6)
    async with asyncio.timeout(20):
        while await store.get("RM_2/another"):  # noqa: ASYNC110 - it is the store that lets time pass
            await asyncio.sleep(0.05)
    assert await store.get(CALL) == (Kept(2, snapshot(1, 0)) if again else None)


async def test_what_no_one_changes_expires_and_what_changes_stays(brief: Store) -> None:
    await brief.put("left", snapshot(1, 0))
    await brief.claim("claimed")
    deadline = time.monotonic() + 20
    sequence = 0
    while await brief.get("left") or await brief.get("claimed"):
        assert time.monotonic() < deadline
        assert await brief.put(CALL, snapshot(1, sequence))
        sequence += 1
        await asyncio.sleep(TTL_SECONDS / 10)
    assert await brief.get(CALL) is not None


async def test_fleets_with_prefixes_of_their_own_share_a_server(redis: RedisServer) -> None:
    address = RedisAddress(f"redis://127.0.0.1:{redis.port}")
    one, other = RedisStore(address.connect(), "one:"), RedisStore(address.connect(), "other:")
    await one.put(CALL, snapshot(1, 0))
    assert await other.get(CALL) is None
    await asyncio.gather(one.close(), other.close())


async def test_a_user_with_a_password_over_tls_and_rights_to_its_prefix_only(tmp_path: Path) -> None:
    user = "user keeper on >let-me-in ~voice-agent:* resetchannels -@all +@connection +@scripting +@hash"
    rights = f"{user} +pexpire +del"
    certificate = write_certificate(tmp_path)
    with redis_server("user default off", rights, certificate=certificate) as server:
        url = f"rediss://keeper@127.0.0.1:{server.port}/0"
        trusting = RedisAddress(url, password="let-me-in", ca_file=str(certificate[0]))  # noqa: S106
        store = RedisStore(trusting.connect())
        assert await store.claim(CALL) == 1
        assert await store.put(CALL, snapshot(1, 0))
        assert await store.get(CALL) == Kept(1, snapshot(1, 0))
        assert await store.delete(CALL, 1)
        await store.close()

        elsewhere = RedisStore(trusting.connect(), prefix="other:")
        stranger = RedisStore(RedisAddress(url, password="guessed", ca_file=str(certificate[0])).connect())  # noqa: S106
        distrustful = RedisStore(RedisAddress(url, password="let-me-in").connect())  # noqa: S106
        for refused in (elsewhere, stranger, distrustful):
            with pytest.raises(StoreError) as error:
                await refused.claim(CALL)
            assert "let-me-in" not in str(error.value)
            await refused.close()


async def test_a_server_that_restarts_empty_is_used_again() -> None:
    with redis_server() as server:
        store = RedisStore(RedisAddress(f"redis://127.0.0.1:{server.port}").connect())
        await store.put(CALL, snapshot(1, 0))
    with pytest.raises(StoreError):
        await store.get(CALL)
    with redis_server(port=server.port):
        assert await store.get(CALL) is None
        assert await store.put(CALL, snapshot(1, 1))
    await store.close()


async def test_sentinels_lead_to_the_server_that_took_over() -> None:
    with ExitStack() as stack:
        first = stack.enter_context(redis_server())
        second = stack.enter_context(redis_server(f"replicaof 127.0.0.1 {first.port}"))
        watch = [
            f"sentinel monitor calls 127.0.0.1 {first.port} 1",
            "sentinel down-after-milliseconds calls 500",
            "sentinel failover-timeout calls 2000",
        ]
        sentinel = stack.enter_context(redis_server(*watch, sentinel=True))
        url = f"sentinel://127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/calls/0"
        store = RedisStore(RedisAddress(url).connect())
        follower = RedisStore(RedisAddress(f"redis://127.0.0.1:{second.port}").connect())
        deadline = time.monotonic() + 60
        await _answered(lambda: store.put(CALL, snapshot(1, 0)), deadline)
        while await follower.get(CALL) is None:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        first.process.kill()
        assert await _answered(lambda: store.claim(CALL), deadline) == 2
        assert await store.get(CALL) == Kept(2, snapshot(1, 0))
        await asyncio.gather(store.close(), follower.close())


async def _answered(ask: Callable[[], Awaitable[int]], deadline: float) -> int:
    """The first answer that is no error; a failover takes seconds."""
    while True:
        with suppress(StoreError):
            return await ask()
        assert time.monotonic() < deadline
        await asyncio.sleep(0.2)


@pytest.mark.parametrize("url", ["http://host", "redis://", "host:6379", "sentinel://one,two"])
def test_an_address_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sentinel"):
        RedisAddress(url).connect()
