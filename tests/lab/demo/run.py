"""The demo from an empty machine to the report, and its exit status."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from lab import disruptions
from lab.callers import CallFleet, CallPlan, CallReport, Summary, speech
from lab.paths import BUILD
from lab.real_services import RealServices
from lab.report import Disruption, print_report, write_report
from lab.stage import Stage, prepare, step

REPORT_FOLDER = BUILD / "demo"
# Without a drain a pod's calls are cut as soon as it must go.
NO_DRAIN = ("--set", "drain.timeoutSeconds=0,drain.finishWithinSeconds=0")
# Else the calls of a pod that died stay without an agent.
KEEPER = ("--set", "keeper.enabled=true")


@dataclass(frozen=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        calls: how many calls at once.
        disruption: replace every pod by ``helm upgrade``, kill every pod without grace, or nothing.
        drain: whether pods let their calls end before they go.
        keeper: whether keepers run, which have the calls of a pod that died taken up by others.
        down: whether the cluster is taken down afterwards.
    """

    calls: int = 6
    disruption: Literal["upgrade", "kill", "none"] = "upgrade"
    drain: bool = True
    keeper: bool = False
    down: bool = False


def run(options: DemoOptions) -> int:
    """Play the demo; returns 0 if every turn of every call was answered, else 1."""
    started = time.monotonic()
    stage = prepare(RealServices.of())
    if stage.real_gemini:
        speech.install()
    if not options.drain:
        stage.helm_args += NO_DRAIN
    if options.keeper:
        stage.helm_args += KEEPER
    with step("helm install"):
        stage.install()
    try:
        reports, happened = asyncio.run(_hold_calls(stage, options))
    except BaseException:
        stage.kubectl.explain()
        raise
    title = f"{options.calls} calls, {_TITLES[options.disruption]}"
    title += f"{'' if options.drain else ', without a drain'}{', with keepers' if options.keeper else ''}"
    page = write_report(REPORT_FOLDER, reports, happened, title)
    print_report(reports)
    print(f"\nTimeline: {page}\nThe demo took {time.monotonic() - started:.0f} s.", flush=True)
    if options.down:
        with step("take the cluster down"):
            stage.cluster.destroy()
    return 0 if Summary.of(reports).ok else 1


_TITLES = {
    "upgrade": "every pod replaced by helm upgrade",
    "kill": "every pod killed",
    "none": "undisturbed",
}


async def _hold_calls(stage: Stage, options: DemoOptions) -> tuple[list[CallReport], list[Disruption]]:
    endpoints = stage.endpoints
    plan = CallPlan(
        url=endpoints.livekit_url,
        api_key=endpoints.api_key,
        api_secret=endpoints.api_secret,
        room=f"demo-{int(time.time())}",
        spoken=stage.real_gemini,
    )
    happened: list[Disruption] = []
    async with CallFleet(plan, calls=options.calls) as fleet:
        with step(f"{options.calls} calls begin"):
            await fleet.all_answering()
            await fleet.more_answers(1)
        with step(_TITLES[options.disruption]):
            began = time.time()
            gone = await asyncio.to_thread(_disrupt, stage, options.disruption)
        with step("the old pods leave"):
            await asyncio.to_thread(stage.wait_gone, gone)
            if options.disruption != "none":
                happened.append(Disruption(_TITLES[options.disruption], began, time.time()))
        with step("the calls go on"):
            await fleet.more_answers(3)
        with step("the callers hang up"):
            reports = await fleet.finish()
    return reports, happened


def _disrupt(stage: Stage, disruption: str) -> set[str]:
    match disruption:
        case "upgrade":
            return disruptions.rolling_upgrade(stage)
        case "kill":
            pods = stage.worker_names()
            disruptions.kill(stage, pods)
            return pods
        case _:
            return set()
