"""LiveKit's absence, before or after the start, restarts no pod."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from urllib.parse import urlsplit

from lab.callers import CallFleet, CallPlan
from lab.gemini import Simulator
from lab.livekit import livekit_server
from lab.worker import environment, worker


async def test_a_worker_outlives_a_restart_of_livekit(gemini: Simulator) -> None:
    with ExitStack() as first:
        livekit = first.enter_context(livekit_server())
        async with worker(environment(livekit, gemini)) as pod:
            await pod.ready()
            first.close()
            line = await pod.logged("failed to connect to livekit, retrying", times=2)
            # Of itself livekit-agents 1.8.9 gives up after 16 times, some 130 s.
            assert line["max_retry"] == sys.maxsize
            assert await pod.get("/livez") == (200, "ok")
            assert await pod.get("/readyz") == (200, "ok")

            with livekit_server(urlsplit(livekit.url).port):
                await pod.logged("registered worker", times=2)
                plan = CallPlan(livekit.url, livekit.key, livekit.secret, pause_s=0.4)
                async with CallFleet(plan, 1) as fleet:
                    await fleet.all_answering()
                    [report] = await fleet.finish()
                assert not report.lost
            assert pod.alive


async def test_a_worker_that_starts_before_livekit_waits_for_it(gemini: Simulator) -> None:
    with livekit_server() as gone:
        port = urlsplit(gone.url).port
    async with worker(environment(gone, gemini)) as pod:
        await pod.logged("failed to connect to livekit, retrying", times=2)
        assert await pod.get("/livez") == (200, "ok")
        assert await pod.get("/readyz") == (503, "not registered with LiveKit yet")
        assert await pod.metric("voice_agent_registered") == 0

        with livekit_server(port):
            await pod.ready()
            assert await pod.metric("voice_agent_registered") == 1


async def test_a_wrong_secret_is_waited_out_like_an_outage(gemini: Simulator) -> None:
    with livekit_server() as livekit:
        wrong = environment(livekit, gemini) | {"LIVEKIT_API_SECRET": "not the secret of this key, but as long"}
        async with worker(wrong) as pod:
            line = await pod.logged("failed to connect to livekit, retrying", times=2)
            assert "401" in line["error"]
            assert (await pod.get("/readyz"))[0] == 503
            assert await pod.get("/livez") == (200, "ok")
            # Nothing holds a pod back that has no call, not even that nobody can be told.
            pod.send(signal.SIGTERM)
            assert await pod.exit_code(20) == 0
