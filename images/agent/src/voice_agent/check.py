"""`voice-agent check`: whether the settings are right and everything they name answers."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from typing import cast

from livekit import api
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from voice_agent import agents, gemini
from voice_agent.settings import (
    Problem,
    Settings,
    SettingsError,
    TracesExporter,
    lend_to_libraries,
    missing_for_gemini,
    parse,
    sources,
    variables,
)
from voice_agent.telemetry import traces

# For each thing that is asked.
TIMEOUT_SECONDS = 15


class Verdict(StrEnum):
    """What a row says."""

    OK = "OK"
    FAIL = "FAIL"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Row:
    """One thing that was checked."""

    name: str
    verdict: Verdict
    detail: str
    fix: str = ""
    """What to do about a FAIL."""

    def __str__(self) -> str:
        lines = [f"{self.name:<10}{self.verdict:<9}{self.detail}"]
        if self.fix:
            lines.append(f"{'':<19}Fix: {self.fix}")
        return "\n".join(lines)


def main(environment: MutableMapping[str, str]) -> int:
    """Print a row for each thing that is checked; 1 if any failed."""
    failed = False
    for row in asyncio.run(rows(environment)):
        sys.stdout.write(f"{row}\n")
        failed |= row.verdict is Verdict.FAIL
    return int(failed)


async def rows(environment: MutableMapping[str, str]) -> list[Row]:
    """Check everything that the settings, as far as they are right, allow."""
    found = sources(variables(Settings), environment)
    lend_to_libraries(environment)
    settings, problems = parse(environment)
    agent, own_model = _agent(settings)
    if not own_model:
        problems += missing_for_gemini(settings)
    # A credential is wrong, too, if its file is.
    wrong = {problem.variable.removesuffix("_FILE") for problem in problems}
    return [
        *_settings(problems),
        *_secrets(found, wrong),
        agent,
        _skipped("livekit", "no server or key to try")
        if wrong & _OF_LIVEKIT
        else await _tried("livekit", _FIX_LIVEKIT, lambda: _livekit(settings)),
        _skipped("gemini", f"{settings.agent_class} brings a model of its own")
        if own_model
        else _skipped("gemini", "no key or project to try")
        if wrong & _OF_GEMINI
        else await _tried("gemini", _FIX_GEMINI, lambda: _gemini(settings)),
        _skipped("traces", "OTEL_TRACES_EXPORTER is none")
        if settings.traces_exporter is TracesExporter.NONE
        else _skipped("traces", "no receiver to try")
        if wrong & _OF_TRACES
        else await _tried("traces", _FIX_TRACES, lambda: _traces(settings)),
    ]


_OF_LIVEKIT = frozenset({"LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"})
_OF_GEMINI = frozenset({"GOOGLE_API_KEY", "GOOGLE_CLOUD_PROJECT", "GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI"})
_OF_TRACES = frozenset({"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"})

_FIX_LIVEKIT = "check LIVEKIT_URL, that the key and secret belong together, and that the network lets the pod out"
_FIX_GEMINI = (
    "check the key or the pod's identity, GEMINI_MODEL, GEMINI_VOICE, GEMINI_BASE_URL and that the network lets the "
    "pod out"
)
_FIX_TRACES = "check the receiver's URL and OTEL_EXPORTER_OTLP_PROTOCOL, or the pod's role for Cloud Trace"


def _settings(problems: list[Problem]) -> list[Row]:
    if not problems:
        return [Row("settings", Verdict.OK, "all settings can be read")]
    return [Row("settings", Verdict.FAIL, f"{problem.subject}: {problem.reason}", problem.fix) for problem in problems]


def _secrets(found: Mapping[str, str], wrong: Collection[str]) -> list[Row]:
    return [
        Row("secrets", Verdict.OK, f"{variable} is from {source}")
        for variable, source in found.items()
        if variable not in wrong
    ]


def _agent(settings: Settings) -> tuple[Row, bool]:
    try:
        own_model = agents.brings_model(settings.agent_class)
    except SettingsError as error:
        problem = error.problems[0]
        return Row("agent", Verdict.FAIL, f"{problem.subject}: {problem.reason}", problem.fix), False
    return Row("agent", Verdict.OK, f"{settings.agent_class} can be made"), own_model


async def _livekit(settings: Settings) -> str:
    async with api.LiveKitAPI(
        settings.livekit_url, settings.livekit_api_key, settings.livekit_api_secret.get_secret_value()
    ) as livekit:
        await livekit.room.list_rooms(api.ListRoomsRequest(names=["voice-agent-check"]))
    return f"{settings.livekit_url} accepts the key"


async def _gemini(settings: Settings) -> str:
    model = gemini.realtime_model(settings)
    client = gemini.client(settings)
    try:
        await gemini.set_up(client, model.model, settings.gemini_voice)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what the row tells
        # Google's own words may quote the key.
        raise ConnectionError(gemini.Ending.of(error, at_setup=True).words or type(error).__name__) from None
    finally:
        await client.aio.aclose()
    return f"{model.model} on {model.provider} sets up a session"


async def _traces(settings: Settings) -> str:
    exporter = traces.make_exporter(settings)
    if exporter is None:
        return "no exporter"
    span = TracerProvider(resource=traces.resource(settings)).get_tracer(__name__).start_span("voice-agent check")
    span.end()
    said = _LastMessage()
    logging.getLogger("opentelemetry").addHandler(said)
    try:
        result = await asyncio.to_thread(exporter.export, [cast(ReadableSpan, span)])
    finally:
        logging.getLogger("opentelemetry").removeHandler(said)
        exporter.shutdown()
    if result is not SpanExportResult.SUCCESS:
        raise ConnectionError(said.message or "the receiver did not take a span")
    return "the receiver took a span"


class _LastMessage(logging.Handler):
    """Exporters log why they failed, and return only that they did."""

    message = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.message = record.getMessage()


async def _tried(name: str, fix: str, check: Callable[[], Awaitable[str]]) -> Row:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return Row(name, Verdict.OK, await check())
    except TimeoutError:
        return Row(name, Verdict.FAIL, f"no answer in {TIMEOUT_SECONDS} s", fix)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is what the row tells
        return Row(name, Verdict.FAIL, f"{type(error).__name__}: {error}", fix)


def _skipped(name: str, why: str) -> Row:
    return Row(name, Verdict.SKIPPED, why)
