"""What a keeper serves besides tethers: probes, metrics, and what it knows of the fleet."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler
from pydantic import JsonValue

from voice_agent.keeper.brain import Brain
from voice_agent.keeper.fleet import Move
from voice_agent.keeper.peers import REACH_PATH, SEEN_PATH, Reaches, Seen
from voice_agent.keeper.pods import FRESH_SECONDS, NOW_SECONDS, FleetPods, outdated
from voice_agent.keeper.ports import Leadership
from voice_agent.keeper.reach import Reach
from voice_agent.tether.server import TetherServer

CALLS_PATH = "/v1/calls"
POD_PATH = "/v1/pods/{pod}"
# A call looks for new keepers every 3 s, and needs some time to reach one.
SETTLED_AFTER_SECONDS = 10.0


def _told(move: Move) -> dict[str, JsonValue]:
    return {
        "at": (datetime.now(UTC) - timedelta(seconds=time.monotonic() - move.at)).isoformat(),
        "room": move.room,
        "from": move.source,
        "to": move.target,
        "why": move.why,
        "seconds": round(move.seconds, 3),
    }


class Routes:
    """The keeper's HTTP.

    Args:
        tethers: the calls' connections; decides who may ask.
        brain: knows the calls.
        leadership: whether this keeper acts.
        reach: asks LiveKit.
        pods: the fleet's; None where no API server is.
        slots: how many calls one pod takes.
    """

    def __init__(
        self,
        tethers: TetherServer,
        brain: Brain,
        leadership: Leadership,
        reach: Reach,
        pods: FleetPods | None,
        slots: int,
    ) -> None:
        self._tethers = tethers
        self._brain = brain
        self._leadership = leadership
        self._reach = reach
        self._pods = pods
        self._slots = slots
        self._began = time.monotonic()

    def application(self) -> web.Application:
        """All routes, the tethers' included."""
        app = self._tethers.application()
        app.add_routes(
            [
                web.get("/livez", self._live),
                web.get("/readyz", self._live),
                web.get("/metrics", make_aiohttp_handler()),
                web.get(SEEN_PATH, self._seen),
                web.get(REACH_PATH, self._reaches),
                web.get(CALLS_PATH, self._calls),
                web.get(POD_PATH, self._pod),
            ]
        )
        return app

    async def _live(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _seen(self, request: web.Request) -> web.Response:
        await self._tethers.admit(request)
        seen = Seen(
            settled=time.monotonic() - self._began > SETTLED_AFTER_SECONDS,
            calls=frozenset((call.call, call.epoch) for call in self._tethers.calls),
            leading=self._leadership.leading,
        )
        return web.json_response(text=seen.model_dump_json())

    async def _reaches(self, request: web.Request) -> web.Response:
        await self._tethers.admit(request)
        return web.json_response(text=Reaches(livekit=await self._reach.answers()).model_dump_json())

    async def _calls(self, request: web.Request) -> web.Response:
        await self._tethers.admit(request)
        calls = [
            {
                "room": known.call.room,
                "caller": known.call.caller,
                "pod": known.call.pod,
                "node": known.call.node,
                "epoch": known.call.epoch,
                "lost": known.loss,
                "move": _told(known.move) if known.move else None,
                **known.state,
            }
            for known in self._brain.calls()
        ]
        taken = Counter(str(call["pod"]) for call in calls)
        pods = taken.keys() | {pod.name for pod in self._pods.last_seen if pod.ready} if self._pods else taken.keys()
        return web.json_response(
            {
                "leading": self._leadership.leading,
                "calls": calls,
                "pods": [{"pod": pod, "calls": taken[pod], "slots": self._slots} for pod in sorted(pods)],
                "past_moves": [_told(move) for move in self._brain.past_moves()],
            }
        )

    async def _pod(self, request: web.Request) -> web.Response:
        """Whether a pod shall leave new calls to newer ones, and how long it has if it is being deleted."""
        await self._tethers.admit(request)
        fresh_s = NOW_SECONDS if "now" in request.query else FRESH_SECONDS
        pods = await self._pods.all(fresh_s=fresh_s) if self._pods else None
        calls = Counter(known.call.pod for known in self._brain.calls())
        pod = request.match_info["pod"]
        closed = pods is not None and pod in outdated(pods, calls, self._slots)
        deletion = self._pods.deletion(pod) if self._pods and pods is not None else None
        told = {"grace_seconds": deletion.grace_seconds, "seconds_left": deletion.seconds_left} if deletion else None
        return web.json_response({"closed": closed, "deletion": told, "known": pods is not None})
