"""The control socket: what the worker orders, the job does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from voice_agent.call.control import Control, Deadline, Result
from voice_agent.worker.control import Jobs


class Job:
    """Notes what is asked of its call."""

    def __init__(self) -> None:
        self.deadlines: asyncio.Queue[Deadline] = asyncio.Queue()
        self.give: asyncio.Event = asyncio.Event()
        self.let_go = asyncio.Event()

    async def hand_over(self, deadline: Deadline) -> AsyncIterator[Result]:
        self.deadlines.put_nowait(deadline)
        await self.give.wait()
        yield Result.TAKEN

    async def leave(self) -> None:
        self.let_go.set()


@asynccontextmanager
async def connected(job: Job, jobs: Jobs) -> AsyncIterator[None]:
    control = Control("a", job.hand_over, job.leave)
    async with jobs.listening():
        await control.start(jobs.path)
        try:
            yield
        finally:
            await control.aclose()


async def asked(jobs: Jobs, within: float) -> None:
    """Ask once the job has said who it is."""
    async with asyncio.timeout(10):
        while not jobs.hand_over("a", within):  # noqa: ASYNC110 - it says so on the socket only
            await asyncio.sleep(0)


async def test_a_job_that_is_asked_again_only_hurries() -> None:
    job, jobs = Job(), Jobs()
    async with connected(job, jobs):
        await asked(jobs, 600)
        deadline = await asyncio.wait_for(job.deadlines.get(), 10)
        assert not deadline.passed

        jobs.hand_over("a", 0)
        jobs.let_go("a")
        await asyncio.wait_for(job.let_go.wait(), 10)

        assert deadline.passed
        assert job.deadlines.empty()


async def test_a_job_lets_go_of_its_call_only_when_told() -> None:
    job, jobs = Job(), Jobs()
    async with connected(job, jobs):
        await asked(jobs, 600)
        await asyncio.wait_for(job.deadlines.get(), 10)
        assert not job.let_go.is_set()

        jobs.let_go("a")

        await asyncio.wait_for(job.let_go.wait(), 10)


async def test_a_job_that_is_not_connected_cannot_be_asked() -> None:
    jobs = Jobs()
    async with jobs.listening():
        assert not jobs.hand_over("a", 1)
        jobs.let_go("a")
