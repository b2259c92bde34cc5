"""The drain: calls may end by themselves until the deadline, and the report is true."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Collection

import pytest

from voice_agent.worker import drain as drain_module
from voice_agent.worker.drain import Drain, Outcome


class Server:
    """Calls that end when a test says so, or when they are cut."""

    def __init__(self, *calls: str) -> None:
        self.calls = set(calls)
        self.outcomes: Counter[Outcome] = Counter()
        self.closed_to_new_calls = asyncio.Event()
        self.hangs = False
        self.cannot_be_killed = False
        self.asked: asyncio.Queue[str] = asyncio.Queue()
        self.within: list[float] = []
        self.met: set[str] = set()
        self.cutting = asyncio.Event()
        self.was_cut: set[str] = set()
        self._ended = asyncio.Event()

    def end(self, call: str, outcome: Outcome = Outcome.FINISHED) -> None:
        self.calls.remove(call)
        self.met.discard(call)
        self.outcomes[outcome] += 1
        self._ended.set()

    def running(self) -> Collection[str]:
        return set(self.calls)

    def hand_over(self, job: str, within: float) -> bool:
        assert within > 0
        if job.startswith("starting"):
            return False
        self.asked.put_nowait(job)
        self.within.append(within)
        return True

    def giving(self) -> Collection[str]:
        return set(self.met)

    def cut(self, *, spare: Collection[str] = ()) -> Collection[str]:
        cut = self.calls - self.was_cut - set(spare)
        self.was_cut |= cut
        self.cutting.set()
        return cut

    async def close_to_new_calls(self) -> None:
        self.closed_to_new_calls.set()
        while self.calls:
            self._ended.clear()
            await self._ended.wait()

    async def aclose(self) -> None:
        while self.hangs:
            self._ended.clear()
            await self._ended.wait()
        for call in list(self.calls):
            self.end(call, Outcome.CUT if call in self.was_cut else Outcome.FINISHED)

    async def kill(self) -> None:
        if not self.cannot_be_killed:
            self.hangs = False
            self._ended.set()


async def test_calls_that_end_in_time_are_finished() -> None:
    server, drain = Server("a", "b"), Drain(finish_within_seconds=0, timeout_seconds=30)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await server.closed_to_new_calls.wait()

    server.end("a")
    await asyncio.sleep(0)
    assert not running.done()
    server.end("b")

    report = await running
    assert (report.finished, report.cut, report.failed, report.lost) == (2, 0, 0, 0)


async def test_calls_that_outlast_the_deadline_are_cut() -> None:
    server, drain = Server("a", "b", "c"), Drain(finish_within_seconds=0, timeout_seconds=0.1)
    drain.ask("SIGTERM")
    server.end("a")

    report = await drain.run(server)

    assert (report.finished, report.cut, report.lost) == (0, 2, 2)
    assert "2 cut at the deadline" in str(report)


async def test_a_call_whose_successor_has_come_is_kept_for_it_beyond_the_deadline(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server, drain = Server("a", "b"), Drain(finish_within_seconds=0, timeout_seconds=0.1)
    server.met.add("a")
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))

    await asyncio.wait_for(server.cutting.wait(), 10)
    assert server.was_cut == {"b"}
    server.end("a", Outcome.MOVED)

    report = await running
    assert (report.moved, report.cut) == (1, 1)
    assert "calls that are cut: 1" in caplog.text


async def test_a_successor_that_does_not_get_ready_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "LATE_SECONDS", 0.1)
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=0.1)
    server.met.add("a")
    drain.ask("SIGTERM")

    report = await asyncio.wait_for(drain.run(server), 5)

    assert (report.moved, report.cut) == (0, 1)


async def test_with_no_time_to_drain_the_pod_still_closes_to_new_calls_first() -> None:
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=0)
    drain.ask("SIGTERM")

    report = await drain.run(server)

    assert server.closed_to_new_calls.is_set()
    assert report.cut == 1


async def test_a_call_whose_process_dies_is_lost() -> None:
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=30)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await server.closed_to_new_calls.wait()

    server.end("a", Outcome.FAILED)

    report = await running
    assert (report.failed, report.lost) == (1, 1)


async def test_calls_that_ended_before_the_drain_are_not_in_the_report() -> None:
    server, drain = Server("a", "b"), Drain(finish_within_seconds=0, timeout_seconds=30)
    server.end("a", Outcome.FAILED)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await server.closed_to_new_calls.wait()
    server.end("b")

    assert (await running).lost == 0


async def test_a_second_signal_changes_nothing_but_the_log(caplog: pytest.LogCaptureFixture) -> None:
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=30)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await server.closed_to_new_calls.wait()

    with caplog.at_level(logging.WARNING):
        drain.ask("SIGTERM")
    await asyncio.sleep(0)

    assert not running.done()
    assert "already draining" in caplog.text
    server.end("a")
    assert (await running).lost == 0


@pytest.mark.parametrize("cannot_be_killed", [False, True])
async def test_jobs_that_ignore_the_end_do_not_hold_the_pod(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cannot_be_killed: bool
) -> None:
    monkeypatch.setattr(drain_module, "LEAVE_SECONDS", 0.05)
    monkeypatch.setattr(drain_module, "KILL_SECONDS", 0.05)
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=0.05)
    server.hangs, server.cannot_be_killed = True, cannot_be_killed
    drain.ask("SIGTERM")

    report = await asyncio.wait_for(drain.run(server), 10)

    assert (report.cut, report.lost) == (1, 1)
    assert "they are killed" in caplog.text
    assert bool(server.calls) is cannot_be_killed


def test_the_end_leaves_a_spot_nodes_grace_time_to_hand_calls_over() -> None:
    assert drain_module.SHUTDOWN_SECONDS == 10


@pytest.mark.parametrize("kept", [False, True])
async def test_a_cut_call_is_said_to_go_on_elsewhere_only_where_keepers_are(
    caplog: pytest.LogCaptureFixture, kept: bool
) -> None:
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=0.1, kept=kept)
    drain.ask("SIGTERM")

    report = await drain.run(server)

    assert report.cut == 1
    assert ("the keepers have other pods take them up" in caplog.text) is kept


@pytest.mark.parametrize("kept", [0.5, 12.0])
async def test_time_to_hand_calls_over_is_kept_whatever_they_may_have_to_end(
    monkeypatch: pytest.MonkeyPatch, kept: float
) -> None:
    """Half of it, or what moving a pod full of calls takes: with 12 s of 12.5 that is nearly all."""
    monkeypatch.setattr(drain_module, "HAND_OVER_SECONDS", kept)
    server, drain = Server("a"), Drain(finish_within_seconds=30, timeout_seconds=max(1, kept + 0.5))
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))

    await asyncio.wait_for(server.asked.get(), 4)
    server.end("a", Outcome.MOVED)

    assert (await running).moved == 1


async def test_the_boundary_is_forced_while_there_is_time_to_send_the_state() -> None:
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=15)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await asyncio.wait_for(server.asked.get(), 10)
    server.end("a", Outcome.MOVED)
    await running

    assert 0 < server.within[0] <= 15 - drain_module.GIVE_SECONDS


@pytest.mark.parametrize("before", [False, True])
async def test_a_pod_that_is_killed_sooner_than_planned_is_drained_sooner(before: bool) -> None:
    server, drain = Server("a"), Drain(finish_within_seconds=300, timeout_seconds=600)
    soon = drain_module.SHUTDOWN_SECONDS + 0.5
    if before:
        drain.expect_kill(soon)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await server.closed_to_new_calls.wait()
    if not before:
        drain.expect_kill(soon)

    report = await asyncio.wait_for(running, 30)

    assert not server.asked.empty(), "it was not offered to other pods first"
    assert report.cut == 1


async def test_jobs_that_were_asked_hear_of_the_shorter_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "STAGGER_SECONDS", 0.01)
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=600)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await asyncio.wait_for(server.asked.get(), 10)
    drain.expect_kill(drain_module.SHUTDOWN_SECONDS + 60)
    await asyncio.wait_for(server.asked.get(), 10)
    server.end("a", Outcome.MOVED)
    await running

    first, second = server.within
    assert first > 500
    assert second < 60


async def test_a_pod_that_has_the_time_it_counts_with_is_not_hurried(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does a longer grace lengthen the drain."""
    server, drain = Server("a"), Drain(finish_within_seconds=0, timeout_seconds=0.5)
    drain.ask("SIGTERM")
    # A second went by before the signal, and the API server counts whole ones.
    drain.expect_kill(drain_module.SHUTDOWN_SECONDS - 1)
    drain.expect_kill(600)

    report = await asyncio.wait_for(drain.run(server), 30)

    assert report.seconds >= 0.5
    assert "less time" not in caplog.text


async def test_the_wait_for_a_signal_ends_with_the_first() -> None:
    drain = Drain(finish_within_seconds=0, timeout_seconds=30)
    waiting = asyncio.create_task(drain.until_asked())
    await asyncio.sleep(0)
    assert not drain.asked
    assert not waiting.done()

    drain.ask("SIGINT")

    await asyncio.wait_for(waiting, 5)
    assert drain.asked


async def test_calls_that_do_not_end_are_handed_over_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "STAGGER_SECONDS", 0.01)
    server, drain = Server("a", "b", "starting"), Drain(finish_within_seconds=0, timeout_seconds=30)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    assert [await server.asked.get(), await server.asked.get()] == ["a", "b"]
    server.end("b", Outcome.MOVED)
    server.end("a", Outcome.MOVED)
    server.end("starting")
    report = await running

    assert (report.moved, report.finished, report.lost) == (2, 1, 0)
    assert server.asked.empty()
    assert "1 finished, 2 moved" in str(report)


async def test_calls_may_end_by_themselves_before_they_are_handed_over() -> None:
    server, drain = Server("a"), Drain(finish_within_seconds=30, timeout_seconds=30)
    drain.ask("SIGTERM")
    running = asyncio.create_task(drain.run(server))
    await server.closed_to_new_calls.wait()
    server.end("a")
    await running

    assert server.asked.empty()
