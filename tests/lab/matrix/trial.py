"""One disruption under live calls."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lab.callers import CallFleet, CallPlan, CallReport, StarvedError
from lab.cluster import LAB_NAMESPACE
from lab.matrix.departures import watch
from lab.matrix.outcome import Outcome
from lab.matrix.rows import Promise, Row
from lab.matrix.scene import Scene
from lab.paths import BUILD, ROOT
from lab.processors import ProcessorTime
from lab.stage import Stage

LOGS = BUILD / "logs"
# Of each call, besides its first, before the disruption, for the latency that it is compared with; and after it.
ANSWERS_BEFORE = 1
ANSWERS_AFTER = 2


@dataclass(frozen=True)
class Trial:
    """What one disruption came to.

    Attributes:
        row: its kind.
        outcome: the figures.
        reports: the calls, told which of them may have lost the turn under way.
    """

    row: Row
    outcome: Outcome
    reports: Sequence[CallReport]

    @property
    def starved(self) -> bool:
        """Whether the machine stood still meanwhile, or a caller died, so that nothing is told of the product."""
        return not all(report.measured for report in self.reports)

    @property
    def story(self) -> str:
        """Every call's story, one after the other."""
        return "\n".join(report.story for report in self.reports)

    @property
    def late(self) -> list[float]:
        """The times, in seconds, that were not below the 95th percentile which its row promises."""
        limit = self.row.promise.within_s
        return [] if limit is None else [each for each in self.row.promise.times(self.outcome) if each >= limit]

    @property
    def broken(self) -> list[str]:
        """Which promises about calls and turns were broken, in words; times are the benchmark's to judge."""
        found = [f"call {report.call}: {report.verdict}" for report in self.reports if not report.ok]
        if not self.outcome.calls:
            found.append("there were no calls")
        if not self.outcome.struck and self.row.promise is not Promise.UNTOUCHED:
            found.append("no call was concerned")
        if self.row.moves is not None and self.outcome.moves > self.row.moves:
            found.append(f"a call moved {self.outcome.moves} times")
        if self.outcome.restarted:
            found.append(f"{self.outcome.restarted} containers restarted in pods that were not struck")
        return found

    def check(self) -> None:
        """Hold the trial to its row's promise.

        Raises:
            AssertionError: a promise was broken.
            StarvedError: the same, but the machine stood still meanwhile, or a caller died.
        """
        if not self.broken:
            return
        words = f"{self.row.title}: {'; '.join(self.broken)}"
        if self.starved:
            raise StarvedError(f"it could not be measured; {words}")
        raise AssertionError(words)


async def run(stage: Stage, row: Row, plan: CallPlan, calls: int) -> Trial:
    """Hold so many calls, disrupt the fleet under them, and report.

    Args:
        stage: an installed release.
        row: what to do to it.
        plan: of the calls.
        calls: how many.

    Raises:
        TimeoutError: a call had no first answer, so that nothing was disrupted; the release's pods and the lab's,
            their events and logs were printed before.
    """
    before, began, started = await asyncio.to_thread(_restarts, stage), ProcessorTime.now(), time.time()
    async with watch(stage) as departures, CallFleet(plan, calls) as fleet:
        try:
            await fleet.all_answering()
        except TimeoutError:
            for namespace in (stage.kubectl.namespace, LAB_NAMESPACE):
                await asyncio.to_thread(stage.kubectl.in_namespace(namespace).explain)
            raise
        await fleet.more_answers(ANSWERS_BEFORE)
        effect = await row.disrupt(Scene(stage, await stage.serving(plan.room)))
        if effect.gone:
            await asyncio.to_thread(stage.wait_gone, set(effect.gone))
        await fleet.more_answers(ANSWERS_AFTER)
        reports = [report.when_killed(set(effect.killed)) for report in await fleet.finish()]
    spared = effect.struck if row.promise not in (Promise.UNTOUCHED, Promise.OUTAGE) else frozenset()
    restarted = _restarted(before, await asyncio.to_thread(_restarts, stage), spared)
    busy = ProcessorTime.now().busy_since(began)
    trial = Trial(row, Outcome.of(reports, effect, departures.seconds, restarted, [busy]), reports)
    if trial.broken:
        folder = LOGS / f"{row.name}-{int(started)}"
        await asyncio.to_thread(stage.kubectl.keep_logs, folder, time.time() - started)
        print(f"{row.title}: {'; '.join(trial.broken)}; the pods' logs are in {folder.relative_to(ROOT)}", flush=True)
    return trial


def _restarts(stage: Stage) -> Counter[str]:
    """How often each worker's containers were restarted."""
    return Counter(
        {
            pod["metadata"]["name"]: sum(s["restartCount"] for s in pod["status"].get("containerStatuses", []))
            for pod in stage.workers()
        }
    )


def _restarted(before: Counter[str], after: Counter[str], spared: frozenset[str]) -> int:
    return sum(max(0, count - before[pod]) for pod, count in after.items() if pod not in spared)
