"""Log lines: what an operator, or Google Cloud Logging, finds in one."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from voice_agent.settings import Settings
from voice_agent.telemetry import logs

MakeSettings = Callable[..., Settings]


class Line:
    """A logger that writes as the worker does, and the last line that it wrote."""

    def __init__(self, settings: Settings) -> None:
        self._written = io.StringIO()
        handler = logging.StreamHandler(self._written)
        handler.addFilter(logs.add_span)
        handler.setFormatter(logs.CloudFormatter(settings))
        self.log = logging.Logger("test")
        self.log.addHandler(handler)

    def read(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(self._written.getvalue().splitlines()[-1])
        return line


def test_a_line_tells_what_when_where(make_settings: MakeSettings) -> None:
    line = Line(make_settings())

    line.log.warning("slow %s", "answer", extra={"room": "r", "room_id": "RM_1", "job_id": "AJ_1"})

    written = line.read()
    assert written.pop("time").endswith("+00:00")
    assert written == {
        "severity": "WARNING",
        "message": "slow answer",
        "logger": "test",
        "pod": "pod-1",
        "room": "r",
        "call": "RM_1",
        "job": "AJ_1",
    }


def test_a_line_within_a_span_points_to_its_trace(make_settings: MakeSettings) -> None:
    line = Line(make_settings(GOOGLE_CLOUD_PROJECT="my-project"))
    tracer = TracerProvider().get_tracer("test")

    with tracer.start_as_current_span("call") as span:
        line.log.info("hello")

    context = span.get_span_context()
    written = line.read()
    assert written["trace_id"] == trace.format_trace_id(context.trace_id)
    assert written["logging.googleapis.com/trace"] == f"projects/my-project/traces/{written['trace_id']}"
    assert written["logging.googleapis.com/spanId"] == trace.format_span_id(context.span_id)
    assert written["logging.googleapis.com/trace_sampled"] is True


def test_the_span_that_a_job_noted_is_kept(make_settings: MakeSettings) -> None:
    line = Line(make_settings())
    tracer = TracerProvider().get_tracer("test")

    with tracer.start_as_current_span("drain"):
        line.log.info("from a job", extra={"trace_id": "0af7", "span_id": "b7ad", "trace_sampled": True})

    assert line.read()["trace_id"] == "0af7"


@pytest.mark.parametrize(
    ("level", "severity"), [(5, "DEBUG"), (10, "DEBUG"), (23, "INFO"), (30, "WARNING"), (40, "ERROR"), (50, "CRITICAL")]
)
def test_levels_of_livekit_have_a_severity(make_settings: MakeSettings, level: int, severity: str) -> None:
    line = Line(make_settings())

    line.log.log(level, "hello")

    assert line.read()["severity"] == severity


def test_a_traceback_that_crossed_processes_is_told_once(make_settings: MakeSettings) -> None:
    line = Line(make_settings())
    record = line.log.makeRecord("test", logging.ERROR, "f", 1, "it broke\nTraceback: deep", (), None)
    record.exc_text = "Traceback: deep"

    line.log.handle(record)

    written = line.read()
    assert written["message"] == "it broke"
    assert written["stack_trace"] == "Traceback: deep"


def test_what_is_not_json_is_written_as_text(make_settings: MakeSettings) -> None:
    line = Line(make_settings())

    line.log.warning("failed to connect", extra={"error": ConnectionRefusedError("no one listens")})

    assert line.read()["error"] == "no one listens"


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_key_is_written_whoever_logs_it(
    make_settings: MakeSettings, capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        logs.configure(make_settings(LOG_FORMAT=log_format))
        error = ConnectionError("Consumer 'api_key:AIzaSyD-0123456789_abcdefg' has been suspended.")
        logging.getLogger("livekit.plugins.google").error("error in receive task: %s", error, exc_info=error)
    finally:
        root.handlers = handlers
        root.setLevel(level)
    written = capsys.readouterr().out
    assert written.count("(a key)") >= 2
    assert "AIza" not in written
