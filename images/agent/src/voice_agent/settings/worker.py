"""Settings of a worker: typed, checked together, each error naming the variable, its value and the fix."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import SecretStr

from voice_agent.settings.base import Common, read, setting, url, urls
from voice_agent.settings.problem import Problem


class VadChoice(StrEnum):
    """Which voice activity detection runs in the worker, besides Gemini's own."""

    NONE = "none"
    SILERO = "silero"


class TracesExporter(StrEnum):
    """Where spans go."""

    NONE = "none"
    OTLP = "otlp"
    GCP = "gcp"


class OtlpProtocol(StrEnum):
    """How spans travel to an OTLP receiver; the values are OpenTelemetry's."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


class Settings(Common):
    """Everything the worker reads from its environment."""

    agent_class: Annotated[
        str,
        setting(
            "AGENT_CLASS",
            "the agent that answers: `package.module:Class`, a `livekit.agents.Agent`",
            "write it as package.module:Class, for example voice_agent.assistant:Assistant",
            pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        ),
    ] = "voice_agent.assistant:Assistant"
    call_slots: Annotated[
        int,
        setting("CALL_SLOTS", "calls that one pod takes at a time", "set it to a whole number from 1 up", ge=1),
    ] = 4
    call_memory_limit_mib: Annotated[
        int,
        setting(
            "CALL_MEMORY_LIMIT_MIB",
            "memory of one call's process, without what it shares, beyond which it is ended, so that it does not take "
            "the pod's other calls with it; another pod takes the call up. 0: none",
            "set it to a whole number of MiB from 0 up",
            ge=0,
        ),
    ] = 512
    idle_processes: Annotated[
        int,
        setting(
            "IDLE_PROCESSES",
            "processes kept warm for calls that come at once, as from a pod that goes or dies; each holds what the "
            "agent's module imports, and saves a call the time for it",
            "set it to a whole number from 0 up",
            ge=0,
        ),
    ] = 3
    gemini_model: Annotated[
        str | None,
        setting(
            "GEMINI_MODEL",
            "Gemini Live model; by default the one that LiveKit's plugin prefers for the API in use",
            "set it to a model with the Live API",
        ),
    ] = None
    gemini_voice: Annotated[
        str, setting("GEMINI_VOICE", "voice that the model speaks with", "set it to a Gemini Live voice")
    ] = "Puck"
    google_api_key: Annotated[
        SecretStr | None,
        setting("GOOGLE_API_KEY", "key of the Gemini Developer API", "set it to a key of the Gemini Developer API"),
    ] = None
    use_vertexai: Annotated[
        bool,
        setting(
            "GOOGLE_GENAI_USE_VERTEXAI",
            "true: Vertex AI with the pod's own identity, instead of the Developer API with a key",
            "set it to true or false",
        ),
    ] = False
    google_cloud_location: Annotated[
        str, setting("GOOGLE_CLOUD_LOCATION", "region of Vertex AI", "set it to a region, for example us-central1")
    ] = "us-central1"
    gemini_base_url: Annotated[
        Annotated[str, url("https", "wss", "http", "ws")] | None,
        setting(
            "GEMINI_BASE_URL",
            "another endpoint for Gemini: Private Service Connect, a gateway, a simulator. With an API key the "
            "connection is always TLS; a private CA is trusted by `SSL_CERT_FILE`",
            "set it to a URL without a path, for example https://gemini.example.internal",
        ),
    ] = None
    gemini_stall_seconds: Annotated[
        float,
        setting(
            "GEMINI_STALL_SECONDS",
            "how long Gemini may say nothing while it owes the caller an answer, or the rest of one, before the "
            "connection is replaced and the caller's words are given to the new one",
            "set it to a number of seconds from 1 up",
            ge=1,
        ),
    ] = 10
    gemini_reconnect_seconds: Annotated[
        float,
        setting(
            "GEMINI_RECONNECT_SECONDS",
            "how long a call goes on trying to reach Gemini before its agent leaves with an error",
            "set it to a number of seconds from 0 up",
            ge=0,
        ),
    ] = 30
    vad: Annotated[
        VadChoice,
        setting(
            "VAD",
            "voice activity detection in the worker, besides Gemini's own: `none` or `silero`",
            "set it to none or silero",
        ),
    ] = VadChoice.NONE
    drain_timeout_seconds: Annotated[
        int,
        setting(
            "DRAIN_TIMEOUT_SECONDS",
            "how long live calls may go on after SIGTERM before they are cut",
            "set it to a whole number of seconds from 0 up; the pod's grace period must be at least 10 s longer",
            ge=0,
        ),
    ] = 480
    drain_finish_within_seconds: Annotated[
        int,
        setting(
            "DRAIN_FINISH_WITHIN_SECONDS",
            "how long after SIGTERM live calls may end by themselves before they are handed over to other pods",
            "set it to a whole number of seconds from 0 up, at most half of DRAIN_TIMEOUT_SECONDS, and 12 less",
            ge=0,
        ),
    ] = 30
    keeper_url: Annotated[
        Annotated[str, urls("http", "https")] | None,
        setting(
            "KEEPER_URL",
            "the keepers, which have calls of pods that died taken up by others: a name behind which every keeper's "
            "address is, as of a headless Service, or several separated by commas; without it such calls are lost",
            "set it to the keepers' Service, for example http://voice-agent-keeper.voice.svc:8090",
        ),
    ] = None
    keeper_token_file: Annotated[
        str | None,
        setting(
            "KEEPER_TOKEN_FILE",
            "a service-account token with the audience `voice-agent-keeper`, as Kubernetes mounts and renews it",
            "set it to the path at which the token is mounted",
        ),
    ] = None
    state_keys: Annotated[
        SecretStr | None,
        setting(
            "STATE_KEYS",
            "keys that snapshots of calls are encrypted with, separated by commas, each base64 of 32 bytes; the first "
            "one encrypts, each decrypts: a new one is put first. Without a key the keepers hold them readable",
            "set it to one key or more, each as `openssl rand 32 | basenc --base64url` prints it",
        ),
    ] = None
    recovery_line: Annotated[
        str,
        setting(
            "RECOVERY_LINE",
            "what the caller is told, in the language of the conversation, when another pod takes up a call whose pod "
            "died and nothing waits for an answer; empty: nothing",
            "set it to a sentence, or to nothing",
        ),
    ] = "Sorry, I lost you for a moment. Please go on."
    traces_exporter: Annotated[
        TracesExporter,
        setting(
            "OTEL_TRACES_EXPORTER",
            "where spans go: `none`, `otlp` or `gcp` (Cloud Trace)",
            "set it to otlp, gcp or none",
        ),
    ] = TracesExporter.NONE
    otlp_protocol: Annotated[
        OtlpProtocol,
        setting(
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "how spans travel: `http/protobuf` (usually port 4318) or `grpc` (usually port 4317)",
            "set it to http/protobuf or grpc",
        ),
    ] = OtlpProtocol.HTTP
    otlp_endpoint: Annotated[
        Annotated[str, url("http", "https")] | None,
        setting(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "the OTLP receiver; the other standard `OTEL_EXPORTER_OTLP_*` variables work too",
            "set it to the receiver's URL, for example http://otel-collector.monitoring:4318",
        ),
    ] = None
    otlp_traces_endpoint: Annotated[
        Annotated[str, url("http", "https")] | None,
        setting(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "the receiver's full URL for traces, where it differs",
            "set it to the full URL, for example http://otel-collector.monitoring:4318/v1/traces",
        ),
    ] = None
    probe_port: Annotated[
        int,
        setting("PROBE_PORT", "port of `/livez` and `/readyz`", "set it to a port from 1 to 65535", ge=1, le=65535),
    ] = 8080
    metrics_port: Annotated[
        int,
        setting("METRICS_PORT", "port of `/metrics` (Prometheus)", "set it to a port from 1 to 65535", ge=1, le=65535),
    ] = 9090


def parse(environment: Mapping[str, str]) -> tuple[Settings, list[Problem]]:
    """The worker's settings in `environment`, and every problem that they have, alone and together."""
    settings, problems = read(Settings, environment)
    wrong = {problem.variable for problem in problems}
    return settings, problems + [problem for problem in _conflicts(settings) if problem.variable not in wrong]


def missing_for_gemini(settings: Settings) -> list[Problem]:
    """What is missing to reach Gemini; an agent that brings a model of its own needs none of it."""
    if settings.use_vertexai:
        if settings.google_cloud_project:
            return []
        return [
            Problem(
                "GOOGLE_CLOUD_PROJECT",
                None,
                "GOOGLE_GENAI_USE_VERTEXAI is true, and Vertex AI needs a project",
                "set it to the project whose Vertex AI the pods use",
            )
        ]
    if settings.google_api_key:
        return []
    return [
        Problem(
            "GOOGLE_API_KEY",
            None,
            "the Gemini Developer API needs a key",
            "set it to a key, or set GOOGLE_GENAI_USE_VERTEXAI=true and GOOGLE_CLOUD_PROJECT to use Vertex AI",
        )
    ]


def _conflicts(settings: Settings) -> list[Problem]:
    problems = []
    if settings.probe_port == settings.metrics_port:
        problems.append(
            Problem(
                "METRICS_PORT",
                str(settings.metrics_port),
                "PROBE_PORT is the same port",
                "set the two to different ports",
            )
        )
    if settings.keeper_url and not (settings.keeper_token_file or settings.keeper_secret):
        problems.append(
            Problem(
                "KEEPER_TOKEN_FILE",
                None,
                "KEEPER_URL is set, and the keepers let only the fleet in",
                "set it to the path of the mounted token, or, outside of Kubernetes, set KEEPER_SECRET",
            )
        )
    endpoint = settings.otlp_endpoint or settings.otlp_traces_endpoint
    if settings.traces_exporter is TracesExporter.OTLP and not endpoint:
        problems.append(
            Problem(
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                None,
                "OTEL_TRACES_EXPORTER is otlp, and that needs a receiver",
                "set it to the receiver's URL, or set OTEL_TRACES_EXPORTER to none",
            )
        )
    return problems
