"""The rows of the matrix: what is done to a fleet, and what is promised of its calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from lab.disruptions import crashes, fleet, surroundings
from lab.matrix.outcome import Outcome
from lab.matrix.scene import Effect, Scene

VALUES = Path(__file__).parent

# Spot's notice, and a deletion that leaves no time for anything.
SPOT_GRACE_SECONDS = 25
NO_GRACE_SECONDS = 1
FROZEN_SECONDS = 30.0
CUT_OFF_SECONDS = 30.0
AWAY_SECONDS = 60.0
# A successor is there by then, and the boundary not yet: the model fails in the middle of the handover.
INTO_HANDOVER_SECONDS = 1.0

STORE = ("--values", str(VALUES / "store.yaml"))
SPREAD = ("--values", str(VALUES / "spread.yaml"))


class Promise(StrEnum):
    """What a row is held to."""

    PLANNED = "planned"
    """No call and no turn is lost; added reply delay p95 below 0.5 s."""
    DEATH = "death"
    """No call is lost, at most the turn under way; an answer that is cut off begins anew; answered again p95 within
    3 s."""
    NODE = "node"
    """The same, for what is noticed by silence: within 6 s."""
    MODEL = "model"
    """No call and no turn is lost; the model fails at the worst moment, and its time is its own."""
    UNTOUCHED = "untouched"
    """No call and no turn is lost, no pod restarted."""
    OUTAGE = "outage"
    """Nothing carries what is said: no call is lost, at most the turn under way, no pod restarted."""

    @property
    def within_s(self) -> float | None:
        """What the 95th percentile of its ``times`` stays below, in seconds, if anything is promised of them."""
        return {Promise.PLANNED: 0.5, Promise.DEATH: 3.0, Promise.NODE: 6.0}.get(self)

    def times(self, outcome: Outcome) -> tuple[float, ...]:
        """What of an outcome ``within_s`` is about: added delays, or after a death the times until answered again."""
        return outcome.added_delay_s if self is Promise.PLANNED else outcome.again_s


@dataclass(frozen=True)
class Row:
    """One kind of disruption.

    Attributes:
        name: short, for command lines and test names.
        title: for the table.
        promise: what it is held to.
        disrupt: does it, and returns when it is over.
        keepers: whether it is about keepers, which the blueprint has none of.
        arguments: what helm is given besides, to install what the row is about.
        moves: how often a call may move at the most; None if that is not promised.
    """

    name: str
    title: str
    promise: Promise
    disrupt: Callable[[Scene], Awaitable[Effect]]
    keepers: bool = False
    arguments: tuple[str, ...] = ()
    moves: int | None = None


MATRIX: dict[str, Row] = {}


def _row(
    name: str,
    title: str,
    promise: Promise,
    *,
    keepers: bool = False,
    arguments: tuple[str, ...] = (),
    moves: int | None = None,
) -> Callable[[Callable[[Scene], Awaitable[Effect]]], Callable[[Scene], Awaitable[Effect]]]:
    def add(disrupt: Callable[[Scene], Awaitable[Effect]]) -> Callable[[Scene], Awaitable[Effect]]:
        MATRIX[name] = Row(name, title, promise, disrupt, keepers, arguments, moves)
        return disrupt

    return add


@_row("upgrade", "rolling upgrade", Promise.PLANNED, moves=1)
async def _upgrade(scene: Scene) -> Effect:
    began = time.time()
    return Effect.told(began, await asyncio.to_thread(fleet.rolling_upgrade, scene.stage))


@_row("second-upgrade", "second upgrade in mid-drain", Promise.PLANNED)
async def _second_upgrade(scene: Scene) -> Effect:
    began = time.time()
    first = await asyncio.to_thread(fleet.begin_upgrade, scene.stage)
    second = await asyncio.to_thread(fleet.rolling_upgrade, scene.stage)
    return Effect.told(began, first | second)


@_row("config-change", "configuration change", Promise.PLANNED, moves=1)
async def _config_change(scene: Scene) -> Effect:
    began = time.time()
    return Effect.told(began, await asyncio.to_thread(fleet.change_configuration, scene.stage))


@_row("chart-upgrade", "chart upgrade that changes no pod", Promise.UNTOUCHED)
async def _chart_upgrade(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(fleet.upgrade_chart, scene.stage)
    return Effect(began)


@_row("scale-down", "scale-down", Promise.PLANNED)
async def _scale_down(scene: Scene) -> Effect:
    began = time.time()
    replicas = len(scene.stage.worker_names()) - 1
    return Effect.told(began, await asyncio.to_thread(fleet.scale, scene.stage, replicas, scene.busy))


@_row("node-drain", "node drain", Promise.PLANNED)
async def _node_drain(scene: Scene) -> Effect:
    node = scene.stage.node_of(scene.busy)
    pods = scene.stage.workers_on(node)
    began = time.time()
    try:
        await asyncio.to_thread(fleet.drain, scene.stage, node)
    finally:
        fleet.uncordon(scene.stage, node)
    return Effect.told(began, pods)


@_row("eviction", "eviction API", Promise.PLANNED)
async def _eviction(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(fleet.evict, scene.stage, scene.busy)
    return Effect.told(began, {scene.busy})


@_row("delete", "kubectl delete pod", Promise.PLANNED)
async def _delete(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(fleet.delete, scene.stage, scene.busy)
    return Effect.told(began, {scene.busy})


@_row("delete-spot", f"deleted with {SPOT_GRACE_SECONDS} s of grace (Spot)", Promise.PLANNED)
async def _delete_spot(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(fleet.delete, scene.stage, scene.busy, SPOT_GRACE_SECONDS)
    return Effect.told(began, {scene.busy})


@_row("sigterm-twice", "SIGTERM twice", Promise.PLANNED)
async def _sigterm_twice(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(crashes.terminate_twice, scene.stage, scene.busy)
    return Effect(began, struck=frozenset({scene.busy}))


@_row("sigterm-group", "SIGTERM to every process", Promise.PLANNED)
async def _sigterm_group(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(crashes.terminate_group, scene.stage, scene.busy)
    return Effect(began, struck=frozenset({scene.busy}))


async def _into_handover(scene: Scene, **fault: object) -> Effect:
    began = time.time()
    await asyncio.to_thread(fleet.delete, scene.stage, scene.busy)
    await asyncio.sleep(INTO_HANDOVER_SECONDS)
    await asyncio.to_thread(surroundings.fail_gemini, scene.stage, **fault)
    return Effect.told(began, {scene.busy})


@_row("goaway-in-handover", "Gemini GoAway in a handover", Promise.MODEL)
async def _goaway(scene: Scene) -> Effect:
    return await _into_handover(scene, action="goaway", delay_s=2.0)


@_row("1007-in-handover", "Gemini closes with 1007 in a handover", Promise.MODEL)
async def _close_1007(scene: Scene) -> Effect:
    return await _into_handover(scene, action="close", code=1007)


@_row("1011-in-handover", "Gemini closes with 1011 in a handover", Promise.MODEL)
async def _close_1011(scene: Scene) -> Effect:
    return await _into_handover(scene, action="close", code=1011)


@_row("stall-in-handover", "Gemini stalls in a handover", Promise.MODEL)
async def _stall(scene: Scene) -> Effect:
    return await _into_handover(scene, action="stall")


@_row("keepers-gone", "both keepers gone during a rollout", Promise.PLANNED, keepers=True)
async def _keepers_gone(scene: Scene) -> Effect:
    stage = scene.stage

    def roll() -> tuple[float, set[str]]:
        with surroundings.keepers_gone(stage):
            return time.time(), fleet.restart(stage)

    began, pods = await asyncio.to_thread(roll)
    return Effect.told(began, pods)


@_row("delete-now", f"deleted with {NO_GRACE_SECONDS} s of grace", Promise.DEATH)
async def _delete_now(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(fleet.delete, scene.stage, scene.busy, NO_GRACE_SECONDS)
    return Effect.died(began, {scene.busy}, gone={scene.busy})


@_row("kill", "SIGKILL of the worker", Promise.DEATH)
async def _kill(scene: Scene) -> Effect:
    return Effect.died(await asyncio.to_thread(crashes.kill_worker, scene.stage, scene.busy), {scene.busy})


@_row("kill-calls", "SIGKILL of every call's process", Promise.DEATH)
async def _kill_calls(scene: Scene) -> Effect:
    return Effect.died(await asyncio.to_thread(crashes.kill_calls, scene.stage, scene.busy), {scene.busy})


@_row("oom", "out of memory: the container killed whole", Promise.DEATH)
async def _oom(scene: Scene) -> Effect:
    return Effect.died(await asyncio.to_thread(crashes.run_out_of_memory, scene.stage, scene.busy), {scene.busy})


@_row("leader-killed", "the leading keeper and a worker killed", Promise.DEATH, keepers=True)
async def _leader_killed(scene: Scene) -> Effect:
    await asyncio.to_thread(surroundings.kill_leader, scene.stage)
    return Effect.died(await asyncio.to_thread(crashes.kill_worker, scene.stage, scene.busy), {scene.busy})


@_row("frozen", f"SIGSTOP for {FROZEN_SECONDS:.0f} s, then SIGCONT", Promise.NODE)
async def _frozen(scene: Scene) -> Effect:
    began, pids = await asyncio.to_thread(crashes.freeze, scene.stage, scene.busy)
    try:
        await asyncio.sleep(FROZEN_SECONDS)
    finally:
        crashes.thaw(pids)
    return Effect.died(began, {scene.busy})


def _for_a_while(cut_off: AbstractContextManager[None]) -> float:
    """Have something cut off for CUT_OFF_SECONDS; returns since when it was."""
    with cut_off:
        began = time.time()
        time.sleep(CUT_OFF_SECONDS)
    return began


@_row("node-cut-off", f"node cut off for {CUT_OFF_SECONDS:.0f} s, then back", Promise.NODE, arguments=SPREAD)
async def _node_cut_off(scene: Scene) -> Effect:
    stage = scene.stage
    node = surroundings.node_without_servers(stage)
    if not scene.serving.keys() & stage.workers_on(node):
        # No call came to the node by itself: the other pod's are handed to it.
        await asyncio.to_thread(fleet.delete, stage, scene.busy)
        await asyncio.to_thread(stage.wait_gone, {scene.busy})
        await asyncio.to_thread(fleet.wait_ready, stage)
    pods = stage.workers_on(node)
    return Effect.died(await asyncio.to_thread(_for_a_while, surroundings.node_cut_off(stage, node)), pods)


@_row("livekit-cut-off", f"a worker cut off from LiveKit for {CUT_OFF_SECONDS:.0f} s, then back", Promise.NODE)
async def _livekit_cut_off(scene: Scene) -> Effect:
    cut_off = surroundings.cut_off_from_livekit(scene.stage, scene.busy)
    return Effect.died(await asyncio.to_thread(_for_a_while, cut_off), {scene.busy})


@_row(
    "keepers-cut-off",
    f"keepers cut off from pods and each other for {CUT_OFF_SECONDS:.0f} s",
    Promise.UNTOUCHED,
    keepers=True,
)
async def _keepers_cut_off(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(_for_a_while, surroundings.keepers_cut_off(scene.stage))
    return Effect(began)


@_row("api-server-away", f"API server away for {AWAY_SECONDS:.0f} s, and a worker killed", Promise.DEATH)
async def _api_server_away(scene: Scene) -> Effect:
    stage = scene.stage
    pids = crashes.main_process(stage, scene.busy)

    def away() -> float:
        with surroundings.api_server_away(stage):
            # Whoever held something by the API server's leave has lost it.
            time.sleep(AWAY_SECONDS / 4)
            began = crashes.kill(pids)
            time.sleep(3 * AWAY_SECONDS / 4)
        return began

    return Effect.died(await asyncio.to_thread(away), {scene.busy})


@_row("livekit-restart", "LiveKit server restarted", Promise.OUTAGE)
async def _livekit_restart(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(surroundings.restart_livekit, scene.stage)
    return Effect.died(began, set(scene.serving))


@_row("store-restarted", "store restarted", Promise.UNTOUCHED, keepers=True, arguments=STORE)
async def _store_restarted(scene: Scene) -> Effect:
    began = time.time()
    await asyncio.to_thread(surroundings.restart_store, scene.stage)
    return Effect(began)


@_row(
    "store-away",
    f"store away for {AWAY_SECONDS:.0f} s, and a worker killed",
    Promise.DEATH,
    keepers=True,
    arguments=STORE,
)
async def _store_away(scene: Scene) -> Effect:
    stage = scene.stage

    def away() -> float:
        with surroundings.store_away(stage):
            began = crashes.kill_worker(stage, scene.busy)
            time.sleep(AWAY_SECONDS)
        return began

    return Effect.died(await asyncio.to_thread(away), {scene.busy})
