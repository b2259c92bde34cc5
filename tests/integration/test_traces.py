"""Traces, at a real OTLP receiver: nothing of a finished call is lost when its process ends."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.callers import CallFleet, CallPlan
from lab.paths import tool
from lab.ports import free_port
from lab.worker import check, worker

ONCE_PER_CALL = (
    "job_entrypoint",
    "call",
    "room_connect",
    "agent_session",
    "session_start",
    "session_close",
    "job_shutdown",
    "room_disconnect",
)


@dataclass(frozen=True)
class Span:
    """A span as the receiver wrote it down."""

    name: str
    id: str
    parent: str
    trace: str
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Collector:
    """A running OpenTelemetry Collector that writes what it gets to a file."""

    def __init__(self, process: asyncio.subprocess.Process, grpc: int, http: int, file: Path) -> None:
        self.grpc = f"http://127.0.0.1:{grpc}"
        self.http = f"http://127.0.0.1:{http}"
        self._process = process
        self._file = file

    async def spans(self) -> list[Span]:
        """Stop it, so that all is written, and read what it got."""
        self._process.terminate()
        await asyncio.wait_for(self._process.wait(), 30)
        return [span for line in self._file.read_text().splitlines() for span in _spans(json.loads(line))]


def _spans(batch: dict[str, Any]) -> list[Span]:
    return [
        Span(
            name=span["name"],
            id=span["spanId"],
            parent=span.get("parentSpanId", ""),
            trace=span["traceId"],
            attributes=_values(span.get("attributes", [])),
            resource=_values(resource["resource"]["attributes"]),
        )
        for resource in batch["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def _values(attributes: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: next(iter(each["value"].values()), None) for each in attributes}


@asynccontextmanager
async def collector(folder: Path) -> AsyncIterator[Collector]:
    grpc, http = free_port(), free_port()
    file, config = folder / "spans.jsonl", folder / "config.json"
    protocols = {"grpc": {"endpoint": f"127.0.0.1:{grpc}"}, "http": {"endpoint": f"127.0.0.1:{http}"}}
    config.write_text(
        json.dumps(
            {
                "receivers": {"otlp": {"protocols": protocols}},
                "exporters": {"file": {"path": str(file)}},
                "service": {
                    "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
                    "telemetry": {"metrics": {"level": "none"}},
                },
            }
        )
    )
    process = await asyncio.create_subprocess_exec(tool("otelcol"), "--config", config)
    try:
        await _listening(http)
        yield Collector(process, grpc, http, file)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def test_every_span_of_a_finished_call_arrives(variables: dict[str, str], plan: CallPlan, tmp_path: Path) -> None:
    async with collector(tmp_path) as receiver:
        variables |= {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.http}
        async with worker(variables | {"GOOGLE_CLOUD_PROJECT": "my-project"}, pod="pod-x") as pod:
            await pod.ready()
            async with CallFleet(plan, 1) as fleet:
                await fleet.all_answering()
                await fleet.more_answers(1)
                [report] = await fleet.finish()
            line = await pod.logged("call answered")
            await pod.logged("call finished")
            pod.send(signal.SIGTERM)
            assert await pod.exit_code() == 0
        spans = await receiver.spans()

    [call] = [span for span in spans if span.name == "call"]
    of_call = [span for span in spans if span.trace == call.trace]
    names = Counter(span.name for span in of_call)
    assert {name: names[name] for name in ONCE_PER_CALL} == dict.fromkeys(ONCE_PER_CALL, 1)
    assert names["agent_turn"] >= report.answered
    # One root, and no span whose parent is missing.
    assert [span.name for span in of_call if not span.parent] == ["job_entrypoint"]
    assert {span.parent for span in of_call if span.parent} <= {span.id for span in of_call}
    assert call.attributes["voice_agent.room"] == f"{plan.room}-1"
    assert call.attributes["voice_agent.caller"] == "caller-1"
    assert {span.resource["k8s.pod.name"] for span in spans} == {"pod-x"}
    [drain] = [span for span in spans if span.name == "drain"]
    assert drain.trace != call.trace

    # The call's log lines carry the same trace, and what Google Cloud needs to link them.
    assert line["trace_id"] == call.trace
    assert line["call"] == call.attributes["voice_agent.call"]
    assert (line["room"], line["caller"], line["pod"]) == (f"{plan.room}-1", "caller-1", "pod-x")
    assert line["logging.googleapis.com/trace"] == f"projects/my-project/traces/{call.trace}"


async def test_a_receiver_that_is_gone_costs_a_call_nothing(variables: dict[str, str], plan: CallPlan) -> None:
    variables |= {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    async with worker(variables) as pod:
        await pod.ready()
        async with CallFleet(plan, 1) as fleet:
            await fleet.all_answering()
            [report] = await fleet.finish()
        assert not report.lost
        # Its slot is free again soon: the exporter's retries are bounded.
        async with asyncio.timeout(15):
            await pod.logged("call finished")


async def test_check_finds_the_receiver_by_grpc(variables: dict[str, str], tmp_path: Path) -> None:
    async with collector(tmp_path) as receiver:
        code, rows = await check(
            variables
            | {
                "OTEL_TRACES_EXPORTER": "otlp",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.grpc,
            }
        )
        spans = await receiver.spans()

    assert code == 0, rows
    assert rows["traces"].startswith("OK")
    assert [span.name for span in spans] == ["voice-agent check"]
