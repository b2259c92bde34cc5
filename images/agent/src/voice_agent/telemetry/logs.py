"""Log lines that carry the trace, call, room and pod they belong to, as JSON or as text.

Job processes send their records to the main process, which writes them all; what only the emitting process
knows (the current span) is put on the record there.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from opentelemetry import trace
from pythonjsonlogger.json import JsonFormatter

from voice_agent.settings import Common, LogFormat

# Libraries that log every request or frame below WARNING.
_CHATTY = ("aiohttp.access", "asyncio", "google_genai", "httpx", "httpx2", "openai", "urllib3", "websockets")

# livekit-agents' names for what this project calls otherwise; a room's SID outlives the job, so it is the call.
_RENAMED = {"job_id": "job", "room_id": "call", "exc_info": "stack_trace"}

# Google's own words quote a key that it has suspended.
_KEYS = re.compile(r"AIza[\w-]+|AQ\.[\w-]{20,}|(?<=api_key:)[^\s'\"\\]+")

_TEXT = "%(asctime)s %(levelname)-7s %(name)s  %(message)s"


def configure(settings: Common) -> None:
    """Make this process, the main one, write its own and its jobs' records to standard output."""
    handler = _Handler(sys.stdout)
    handler.addFilter(add_span)
    handler.setFormatter(
        CloudFormatter(settings) if settings.log_format is LogFormat.JSON else logging.Formatter(_TEXT)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def configure_job() -> None:
    """Put the current span on every record that this job process sends to the main one."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(add_span)


def add_span(record: logging.LogRecord) -> bool:
    """Note the current span on a record that has none yet."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid and not hasattr(record, "trace_id"):
        record.trace_id = trace.format_trace_id(context.trace_id)
        record.span_id = trace.format_span_id(context.span_id)
        record.trace_sampled = context.trace_flags.sampled
    return True


def masked(text: str) -> str:
    """`text` without the Google API keys in it."""
    return _KEYS.sub("(a key)", text)


class _Handler(logging.StreamHandler[Any]):
    """Writes no key, whoever logs it."""

    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


class CloudFormatter(JsonFormatter):
    """JSON with the fields that Google Cloud Logging reads; any other collector can read it too."""

    def __init__(self, settings: Common) -> None:
        super().__init__(rename_fields=_RENAMED, json_default=str)
        self._project = settings.google_cloud_project
        self._pod = settings.pod_name

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Fill `log_data`, in the order in which a person reads a line."""
        log_data["severity"] = _severity(record.levelno)
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["message"] = None
        log_data["logger"] = record.name
        log_data["pod"] = self._pod
        super().add_fields(log_data, record, message_dict)
        log_data["message"] = _without(record.exc_text, record.getMessage())
        if self._project and "trace_id" in log_data:
            log_data["logging.googleapis.com/trace"] = f"projects/{self._project}/traces/{log_data['trace_id']}"
            log_data["logging.googleapis.com/spanId"] = log_data["span_id"]
            log_data["logging.googleapis.com/trace_sampled"] = log_data["trace_sampled"]


def _severity(level: int) -> str:
    # livekit-agents logs at levels of its own between Python's.
    for threshold in (logging.CRITICAL, logging.ERROR, logging.WARNING, logging.INFO):
        if level >= threshold:
            return logging.getLevelName(threshold)
    return "DEBUG"


def _without(traceback: str | None, message: str) -> str:
    # A record that came from a job process has its traceback in the message as well.
    return message.removesuffix(traceback).rstrip() if traceback else message
