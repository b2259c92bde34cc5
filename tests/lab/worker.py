"""The product's worker as a plain process on this machine, without a container or a cluster."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from lab import metrics
from lab.gemini import Simulator
from lab.interpreters import Process, start
from lab.livekit import LiveKit
from lab.ports import free_port

_PRODUCT = ("-m", "voice_agent", "worker")
# Generous: a start takes 3 s on an idle machine.
_DEADLINE_SECONDS = 180.0

LogLine = dict[str, Any]


def environment(livekit: LiveKit, gemini: Simulator | None = None) -> dict[str, str]:
    """What a worker needs in its environment to use these servers."""
    variables = {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.key,
        "LIVEKIT_API_SECRET": livekit.secret,
    }
    if gemini:
        variables |= {
            "GEMINI_BASE_URL": gemini.url,
            "GOOGLE_API_KEY": "the simulator takes any",
            "SSL_CERT_FILE": str(gemini.certificate),
        }
    return variables


class Worker:
    """A running worker, and everything that it has logged.

    Attributes:
        lines: its log, one object a line; what is no JSON is the message of one.
        probe_port: where ``/livez`` and ``/readyz`` are.
        metrics_port: where ``/metrics`` is.
    """

    def __init__(self, process: Process, probe_port: int, metrics_port: int) -> None:
        self.lines: list[LogLine] = []
        self.probe_port = probe_port
        self.metrics_port = metrics_port
        self._process = process
        self._changed = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        """The main process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the main process runs."""
        return self._process.returncode is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the main process only, as the kubelet does."""
        self._process.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send a signal to every process of the worker, as some inits do."""
        os.killpg(self._process.pid, number)

    async def exit_code(self, seconds: float = _DEADLINE_SECONDS) -> int:
        """Wait for the worker to leave.

        Raises:
            TimeoutError: it did not; the message ends with its log.
        """
        try:
            async with asyncio.timeout(seconds):
                code = await self._process.wait()
                await self._reading
        except TimeoutError:
            raise TimeoutError(f"the worker did not leave in {seconds:g} s; its log:\n{self.text()}") from None
        return code

    async def logged(self, message: str, *, times: int = 1) -> LogLine:
        """Wait until lines whose message contains ``message`` were logged so many times, and tell the last.

        Raises:
            TimeoutError: they were not; the message ends with the log.
        """

        def found() -> list[LogLine]:
            return [line for line in self.lines if message in str(line["message"])]

        await self._until(lambda: len(found()) >= times, f"did not log {message!r} {times} times")
        return found()[times - 1]

    async def get(self, path: str, port: int | None = None) -> tuple[int, str]:
        """Status and text of a probe; status 0 when nobody answers."""
        url = f"http://127.0.0.1:{port or self.probe_port}{path}"
        try:
            timeout = aiohttp.ClientTimeout(total=5)
            async with aiohttp.ClientSession(timeout=timeout) as client, client.get(url) as answer:
                return answer.status, (await answer.text()).strip()
        except (aiohttp.ClientError, TimeoutError):
            return 0, ""

    async def metric(self, sample: str) -> float:
        """A sample's value, by its name with labels as ``/metrics`` shows it; 0 when it is not there."""
        _, text = await self.get("/metrics", self.metrics_port)
        return metrics.value(text, sample)

    async def ready(self) -> None:
        """Wait until ``/readyz`` says so.

        Raises:
            TimeoutError: it did not; the message ends with the log.
            ChildProcessError: the worker left instead.
        """
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS):
                while (await self.get("/readyz"))[0] != 200:
                    if not self.alive:
                        await self._reading
                        raise ChildProcessError(f"the worker left with {self._process.returncode}:\n{self.text()}")
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise TimeoutError(
                f"the worker was not ready in {_DEADLINE_SECONDS:g} s; its log:\n{self.text()}"
            ) from None

    def text(self) -> str:
        """The log, for a person."""
        return "\n".join(json.dumps(line) for line in self.lines)

    async def _until(self, done: Callable[[], bool], complaint: str) -> None:
        try:
            async with asyncio.timeout(_DEADLINE_SECONDS), self._changed:
                await self._changed.wait_for(done)
        except TimeoutError:
            raise TimeoutError(f"the worker {complaint} in {_DEADLINE_SECONDS:g} s; its log:\n{self.text()}") from None

    async def _read(self) -> None:
        stdout = self._process.stdout
        while stdout and (line := await stdout.readline()):
            self.lines.append(_parsed(line.decode(errors="replace").rstrip()))
            async with self._changed:
                self._changed.notify_all()


def _parsed(line: str) -> LogLine:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {"message": line}
    return parsed if isinstance(parsed, dict) and "message" in parsed else {"message": line}


@asynccontextmanager
async def worker(
    variables: Mapping[str, str], *, pod: str = "pod-a", program: Sequence[str] = _PRODUCT
) -> AsyncIterator[Worker]:
    """Run a worker for as long as the context lasts; it is killed, with its calls, if it still runs at the end.

    Args:
        variables: its settings, see ``environment``; probes and metrics get free ports.
        pod: the name that it gives itself.
        program: what Python runs; the product's worker, or another in its place.
    """
    probe_port, metrics_port = free_port(), free_port()
    ports = {"PROBE_PORT": str(probe_port), "METRICS_PORT": str(metrics_port)}
    process = await start(
        *program,
        environment={**os.environ, **ports, "POD_NAME": pod, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        session=True,
    )
    running = Worker(process, probe_port, metrics_port)
    try:
        yield running
    finally:
        # Its group: the forkserver and the jobs outlive a main process that is killed by a few seconds.
        if running.alive:
            # It may have ended without being known to have.
            with suppress(ProcessLookupError):
                running.send_to_group(signal.SIGKILL)
        await running.exit_code()


async def check(variables: Mapping[str, str]) -> tuple[int, dict[str, str]]:
    """Run `voice-agent check`: its exit code, and each row's verdict and text by the row's name."""
    environment = {**os.environ, **variables}
    process = await start("-m", "voice_agent", "check", environment=environment, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(_DEADLINE_SECONDS):
        out = await process.stdout.read() if process.stdout else b""
        code = await process.wait()
    rows: dict[str, str] = {}
    name = ""
    for line in out.decode().splitlines():
        text = line
        if not line.startswith(" "):
            name, text = line.split(maxsplit=1)
        rows[name] = rows.get(name, "") + text
    return code, rows
