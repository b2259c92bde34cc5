"""Settings of a keeper."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import SecretStr

from voice_agent.settings.base import Common, read, setting, url
from voice_agent.settings.problem import Problem


class StateStore(StrEnum):
    """Where the snapshots of calls are."""

    MEMORY = "memory"
    """In every keeper: nothing to install, and lost if all keepers are at once."""
    REDIS = "redis"
    """In any server that speaks Redis' protocol."""


class KeeperSettings(Common):
    """Everything a keeper reads from its environment."""

    keeper_port: Annotated[
        int,
        setting(
            "KEEPER_PORT",
            "port of everything that a keeper serves: tethers, status, probes, metrics",
            "set it to a port from 0 to 65535; 0 takes a free one",
            ge=0,
            le=65535,
        ),
    ] = 8090
    keeper_peers: Annotated[
        Annotated[str, url("http", "https")] | None,
        setting(
            "KEEPER_PEERS",
            "the other keepers: a name behind which every keeper's address is",
            "set it to the keepers' headless Service, for example http://voice-agent-keeper.voice.svc:8090",
        ),
    ] = None
    keeper_token_file: Annotated[
        str | None,
        setting(
            "KEEPER_TOKEN_FILE",
            "a service-account token with the audience `voice-agent-keeper`, shown to the other keepers",
            "set it to the path at which the token is mounted",
        ),
    ] = None
    pod_ip: Annotated[
        str | None, setting("POD_IP", "the pod's address: not one of the other keepers", "set it from status.podIP")
    ] = None
    lease_name: Annotated[
        str | None,
        setting(
            "LEASE_NAME",
            "the Lease by which the keepers agree on who acts; without it this keeper does",
            "set it to the name of a Lease in the pod's namespace",
        ),
    ] = None
    fleet_service_accounts: Annotated[
        str | None,
        setting(
            "FLEET_SERVICE_ACCOUNTS",
            "names of the service accounts, in the pod's namespace, whose tokens are let in, separated by commas: the "
            "workers' and the keepers' own",
            "set it to the workers' and the keepers' service accounts",
        ),
    ] = None
    fleet_selector: Annotated[
        str | None,
        setting(
            "FLEET_SELECTOR",
            "label selector of the workers' pods in the pod's namespace",
            "set it to a label selector, for example app.kubernetes.io/component=worker",
        ),
    ] = None
    call_slots: Annotated[
        int,
        setting("CALL_SLOTS", "calls that one worker takes at a time", "set it to the workers' value", ge=1),
    ] = 4
    state_store: Annotated[
        StateStore,
        setting("STATE_STORE", "where snapshots of calls are kept: `memory` or `redis`", "set it to memory or redis"),
    ] = StateStore.MEMORY
    redis_url: Annotated[
        str | None,
        setting(
            "REDIS_URL",
            "the Redis, Valkey or Memorystore of STATE_STORE=redis: `redis://[user@]host[:port][/database]`, "
            "`rediss://` for TLS, or `sentinel://host,host/service`",
            "set it to the server's URL, without a password",
        ),
    ] = None
    redis_password: Annotated[
        SecretStr | None, setting("REDIS_PASSWORD", "its password", "set it to the server's password")
    ] = None
    redis_ca_file: Annotated[
        str | None,
        setting("REDIS_CA_FILE", "PEM file of the authority that signed its certificate", "set it to the file's path"),
    ] = None


def parse_keeper(environment: Mapping[str, str]) -> tuple[KeeperSettings, list[Problem]]:
    """A keeper's settings in `environment`, and every problem that they have, alone and together."""
    settings, problems = read(KeeperSettings, environment)
    if settings.state_store is StateStore.REDIS and settings.redis_url is None:
        reason = "STATE_STORE is redis"
        problems.append(Problem("REDIS_URL", None, reason, "set it to the server's URL, or set STATE_STORE to memory"))
    if not (settings.fleet_service_accounts or settings.keeper_secret):
        problems.append(
            Problem(
                "FLEET_SERVICE_ACCOUNTS",
                None,
                "a keeper lets only the fleet in",
                "set it to the workers' and the keepers' service accounts; outside of Kubernetes set KEEPER_SECRET",
            )
        )
    for variable, value in (
        ("LEASE_NAME", settings.lease_name),
        ("FLEET_SELECTOR", settings.fleet_selector),
        ("FLEET_SERVICE_ACCOUNTS", settings.fleet_service_accounts),
    ):
        if value and not settings.pod_namespace:
            problems.append(
                Problem("POD_NAMESPACE", None, f"{variable} names something in it", "set it from metadata.namespace")
            )
            break
    return settings, problems
