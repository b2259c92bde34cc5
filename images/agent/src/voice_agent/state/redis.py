"""Calls in any server that speaks Redis' protocol: survives the keepers, shared by several clusters."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from voice_agent.state.store import TTL_SECONDS, Kept, Snapshot, Stamp, StoreError

# A failover takes Sentinel seconds; a keeper's own work waits for none of this.
_TIMEOUT_SECONDS = 2.0
_RETRIES = 3
_SENTINEL_PORT = 26379

# One hash per call, and one key per script: as a Redis Cluster wants it.
_PUT = """
local known = redis.call('HMGET', KEYS[1], 'epoch', 'snapshot-epoch', 'snapshot-sequence')
local epoch, sequence = tonumber(ARGV[1]), tonumber(ARGV[2])
local last = tonumber(known[2]) or 0
if epoch < (tonumber(known[1]) or 0) or epoch < last then return 0 end
if epoch == last and sequence <= (tonumber(known[3]) or -1) then return 0 end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'snapshot-epoch', ARGV[1], 'snapshot-sequence', ARGV[2],
  'snapshot', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
"""
_CLAIM = """
local epoch = math.max(tonumber(redis.call('HGET', KEYS[1], 'epoch')) or 0, tonumber(ARGV[1])) + 1
redis.call('HSET', KEYS[1], 'epoch', string.format('%.0f', epoch))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return epoch
"""
# What expires in no time is deleted at once.
_DELETE = """
if (tonumber(redis.call('HGET', KEYS[1], 'epoch')) or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
"""


@dataclass(frozen=True)
class RedisAddress:
    """Where the server is, and how to get in.

    Attributes:
        url: `redis://[user@]host[:port][/database]`, `rediss://…` for TLS, or, with Sentinels that know who leads,
            `sentinel://[user@]host[:port],host…/service[/database]` or `sentinels://…` for TLS.
        password: of the user; takes the place of one in the URL.
        sentinel_password: of the Sentinels, where they ask for one.
        ca_file: PEM file of the authority that TLS trusts, instead of the system's.
    """

    url: str
    password: str | None = None
    sentinel_password: str | None = None
    ca_file: str | None = None

    def connect(self) -> Redis:
        """A client, which connects when it is first used.

        Raises:
            ValueError: the URL is none of these.
        """
        parts = urlsplit(self.url)
        if parts.scheme not in {"redis", "rediss", "sentinel", "sentinels"} or not parts.netloc:
            raise ValueError("it does not start with redis://, rediss://, sentinel:// or sentinels://")
        options: dict[str, Any] = {
            "socket_timeout": _TIMEOUT_SECONDS,
            "socket_connect_timeout": _TIMEOUT_SECONDS,
            "health_check_interval": 10,
            "retry": Retry(ExponentialBackoff(cap=0.5, base=0.05), _RETRIES),
        }
        if self.password is not None:
            options["password"] = self.password
        if parts.scheme in {"rediss", "sentinels"} and self.ca_file:
            options["ssl_ca_certs"] = self.ca_file
        if parts.scheme in {"redis", "rediss"}:
            return Redis.from_url(self.url, **options)
        return self._by_sentinel(options)

    def _by_sentinel(self, options: dict[str, Any]) -> Redis:
        parts = urlsplit(self.url)
        credentials, _, hosts = parts.netloc.rpartition("@")
        service, _, database = parts.path.strip("/").partition("/")
        if not service:
            raise ValueError("it names no service after the Sentinels: sentinel://host,host/service")
        tls: dict[str, Any] = {"ssl": True} if parts.scheme == "sentinels" else {}
        user, _, password = credentials.partition(":")
        if user:
            options["username"] = user
        if password:
            options.setdefault("password", password)
        asking: dict[str, Any] = {"socket_timeout": _TIMEOUT_SECONDS, "socket_connect_timeout": _TIMEOUT_SECONDS, **tls}
        if "ssl_ca_certs" in options:
            asking["ssl_ca_certs"] = options["ssl_ca_certs"]
        if self.sentinel_password is not None:
            asking["password"] = self.sentinel_password
        addresses = [_address(host) for host in hosts.split(",")]
        sentinel = Sentinel(addresses, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        return cast(Redis, sentinel.master_for(service, db=int(database or 0), **tls, **options))


def _address(host: str) -> tuple[str, int]:
    parts = urlsplit(f"//{host}")
    return parts.hostname or "", parts.port or _SENTINEL_PORT


class RedisStore:
    """A `Store` in Redis, Valkey or Memorystore.

    Args:
        client: from `RedisAddress.connect`; closed by `close`.
        prefix: of every key, so that several fleets share a server.
        ttl_seconds: how long a call is kept after its last change.
    """

    def __init__(self, client: Redis, prefix: str = "voice-agent:", ttl_seconds: float = TTL_SECONDS) -> None:
        self._client = client
        self._prefix = prefix
        self._ttl = int(ttl_seconds * 1000)
        self._put = client.register_script(_PUT)
        self._claim = client.register_script(_CLAIM)
        self._delete = client.register_script(_DELETE)

    async def put(self, call: str, snapshot: Snapshot) -> bool:
        """See `Store.put`."""
        stamp = snapshot.stamp
        arguments: list[bytes | int] = [stamp.epoch, stamp.sequence, snapshot.sealed, self._ttl]
        return bool(await _asked(self._put(keys=[self._key(call)], args=arguments)))

    async def get(self, call: str) -> Kept | None:
        """See `Store.get`."""
        names = ["epoch", "snapshot-epoch", "snapshot-sequence", "snapshot"]
        asking = cast(Awaitable[Any], self._client.hmget(self._key(call), names))
        epoch, written, sequence, sealed = await _asked(asking)
        if epoch is None:
            return None
        return Kept(int(epoch), None if sealed is None else Snapshot(Stamp(int(written), int(sequence)), sealed))

    async def claim(self, call: str, above: int = 0) -> int:
        """See `Store.claim`."""
        return int(await _asked(self._claim(keys=[self._key(call)], args=[above, self._ttl])))

    async def delete(self, call: str, epoch: int, after: float = 0.0) -> bool:
        """See `Store.delete`."""
        return bool(await _asked(self._delete(keys=[self._key(call)], args=[epoch, int(after * 1000)])))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._client.aclose()

    def _key(self, call: str) -> str:
        return f"{self._prefix}call:{call}"


async def _asked(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (RedisError, OSError) as error:
        raise StoreError(f"Redis: {type(error).__name__}: {error}") from error
