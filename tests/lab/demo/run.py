"""The demo from an empty machine to the report, and its exit status."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

from lab.callers import CallFleet, CallPlan, CallReport, Summary, speech
from lab.disruptions import crashes, fleet
from lab.paths import BUILD
from lab.real_services import RealServices
from lab.report import Disruption, print_report, write_report
from lab.stage import Stage, prepare, step

REPORT_FOLDER = BUILD / "demo"
# Without a drain a pod's calls are cut as soon as it must go.
NO_DRAIN = ("--set", "drain.timeoutSeconds=0,drain.finishWithinSeconds=0")
# Then the calls of a pod that died stay without an agent.
NO_KEEPER = ("--set", "keeper.enabled=false")

Step = Literal["upgrade", "kill", "kill-all"]
DISRUPTIONS: dict[str, tuple[Step, ...]] = {
    "upgrade,kill": ("upgrade", "kill"),
    "upgrade": ("upgrade",),
    "kill": ("kill",),
    "kill-all": ("kill-all",),
    "none": (),
}


@dataclass(frozen=True)
class DemoOptions:
    """What the demo does.

    Attributes:
        calls: how many calls at once.
        disruption: a key of ``DISRUPTIONS``: replace every pod by ``helm upgrade``, then kill the pod with the most
            calls; either of the two; kill every pod without grace; or nothing.
        drain: whether pods let their calls end, or hand them over, before they go.
        keeper: whether keepers run, which have the calls of a pod that died taken up by others.
        down: whether the cluster is taken down afterwards.
    """

    calls: int = 4
    disruption: str = "upgrade,kill"
    drain: bool = True
    keeper: bool = True
    down: bool = False


def run(options: DemoOptions) -> int:
    """Play the demo.

    Returns:
        0 if no call was lost and every turn was answered, but for the one under way where a pod was killed; else 1.
    """
    started = time.monotonic()
    stage = prepare(RealServices.of())
    if stage.real_gemini:
        speech.install()
    if not options.drain:
        stage.helm_args += NO_DRAIN
    if not options.keeper:
        stage.helm_args += NO_KEEPER
    with step("helm install"):
        stage.install()
    try:
        reports, happened = asyncio.run(_hold_calls(stage, options))
    except BaseException:
        stage.kubectl.explain()
        raise
    what = ", then ".join(_TITLES[each] for each in DISRUPTIONS[options.disruption]) or "undisturbed"
    title = f"{options.calls} calls, {what}"
    title += f"{'' if options.drain else ', without a drain'}{'' if options.keeper else ', without keepers'}"
    page = write_report(REPORT_FOLDER, reports, happened, title)
    print_report(reports)
    print(f"\nTimeline: {page}\nThe demo took {time.monotonic() - started:.0f} s.", flush=True)
    if options.down:
        with step("take the cluster down"):
            stage.cluster.destroy()
    return 0 if Summary.of(reports).ok else 1


_TITLES: dict[Step, str] = {
    "upgrade": "every pod replaced by helm upgrade",
    "kill": "a pod killed",
    "kill-all": "every pod killed",
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
    killed: set[str] = set()
    async with CallFleet(plan, calls=options.calls) as callers:
        with step(f"{options.calls} calls begin"):
            await callers.all_answering()
            await callers.more_answers(1)
        for each in DISRUPTIONS[options.disruption]:
            serving = await stage.serving(plan.room)
            if not serving:
                break  # no call is left to disrupt
            began = time.time()
            with step(_TITLES[each]):
                busy, _ = serving.most_common()[0]
                gone = await asyncio.to_thread(_disrupt, stage, each, busy)
            if each == "kill":
                killed.add(busy)
            elif each == "kill-all":
                killed |= gone
            if gone:
                with step("the old pods leave"):
                    await asyncio.to_thread(stage.wait_gone, gone)
            happened.append(Disruption(_TITLES[each], began, time.time()))
            with step("the calls go on"):
                await callers.more_answers(2)
        with step("the callers go on, and hang up"):
            await callers.more_answers(1)
            reports = await callers.finish()
    return [report.when_killed(killed) for report in reports], happened


def _disrupt(stage: Stage, disruption: Step, busy: str) -> set[str]:
    """Disrupt the fleet; returns the pods that must go."""
    match disruption:
        case "upgrade":
            return fleet.rolling_upgrade(stage)
        case "kill":
            # Its container is started again, in the same pod.
            crashes.kill_worker(stage, busy)
            return set()
        case "kill-all":
            pods = stage.worker_names()
            crashes.delete_now(stage, pods)
            return pods
