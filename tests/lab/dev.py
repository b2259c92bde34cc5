"""``make dev``: one agent and one caller as plain processes, for whoever works on an agent."""

from __future__ import annotations

import asyncio
import time

from lab.callers import CallFleet, CallPlan, Summary
from lab.gemini import Behaviour, simulator
from lab.livekit import livekit_server
from lab.report import print_report
from lab.worker import environment, worker


async def _dev(questions: int) -> int:
    started = time.monotonic()
    # Brisker than Gemini is: whoever works on an agent waits for this.
    quick = Behaviour(endpointing_s=0.3, latency_s=0.1, answer_s=0.9)
    with livekit_server() as livekit:
        async with simulator(quick) as gemini, worker(environment(livekit, gemini), pod="dev") as agent:
            await agent.ready()
            print(f"· agent ready after {time.monotonic() - started:.1f} s, calling it", flush=True)
            plan = CallPlan(livekit.url, livekit.key, livekit.secret, room="dev", questions=questions, pause_s=0.2)
            async with CallFleet(plan, calls=1) as fleet:
                await fleet.more_answers(questions)
                reports = await fleet.finish()
            if not Summary.of(reports).ok:
                print(agent.text())
    print_report(reports)
    print(f"make dev took {time.monotonic() - started:.1f} s.")
    return 0 if Summary.of(reports).ok else 1


def run(questions: int) -> int:
    """Hold one call of so many questions; returns 0 if all were answered."""
    return asyncio.run(_dev(questions))
