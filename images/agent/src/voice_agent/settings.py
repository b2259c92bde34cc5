"""Settings from the environment: typed, checked together, each error naming the variable, its value and the fix."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)

# Set to "" they mean something; every other variable set to "" counts as not set, because that is what a
# chart renders for a value that was left out.
MEANINGFUL_WHEN_EMPTY = frozenset({"AGENT_NAME", "RECOVERY_LINE"})


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


class LogLevel(StrEnum):
    """Python's log levels."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class LogFormat(StrEnum):
    """How a log line looks."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True)
class Problem:
    """One setting that is wrong: what it is, why, and what to do."""

    variable: str
    value: str | None
    """As set; None when it is not set, masked when it is a secret."""
    reason: str
    fix: str

    @property
    def subject(self) -> str:
        """The variable and its value."""
        return f"{self.variable} is not set" if self.value is None else f"{self.variable}={self.value}"

    def __str__(self) -> str:
        return f"{self.subject}\n    {self.reason}\n    Fix: {self.fix}"


class SettingsError(Exception):
    """One or more settings are wrong; the text lists all of them."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        super().__init__(f"{count} wrong:\n\n" + "\n\n".join(f"  {problem}" for problem in problems))


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"it is not a URL that starts with {' or '.join(f'{s}://' for s in schemes)}")
        _ = parts.port  # raises ValueError when it is not a port number
        return value

    return AfterValidator(check)


def _setting(variable: str, meaning: str, fix: str, **constraints: Any) -> Any:
    """A field read from `variable`; `fix` completes every error about it."""
    return Field(alias=variable, description=meaning, json_schema_extra={"fix": fix}, **constraints)


_upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)


class Settings(BaseModel):
    """Everything the worker reads from its environment."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    livekit_url: Annotated[
        str,
        _setting(
            "LIVEKIT_URL",
            "LiveKit server, `ws://` or `wss://`",
            "set it to your LiveKit server, for example wss://my-project.livekit.cloud",
        ),
        _url("ws", "wss"),
    ]
    livekit_api_key: Annotated[
        str, _setting("LIVEKIT_API_KEY", "LiveKit API key", "set it to a key of that LiveKit server")
    ]
    livekit_api_secret: Annotated[
        SecretStr,
        _setting("LIVEKIT_API_SECRET", "secret of that key", "set it to the secret that belongs to LIVEKIT_API_KEY"),
    ]
    agent_name: Annotated[
        str,
        _setting(
            "AGENT_NAME",
            "name that calls are dispatched to explicitly; empty for LiveKit's automatic dispatch to every room",
            "set it to the name in your dispatch rules, or to nothing for automatic dispatch",
        ),
    ] = "voice-agent"
    agent_class: Annotated[
        str,
        _setting(
            "AGENT_CLASS",
            "the agent that answers: `package.module:Class`, a `livekit.agents.Agent`",
            "write it as package.module:Class, for example voice_agent.assistant:Assistant",
            pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$",
        ),
    ] = "voice_agent.assistant:Assistant"
    call_slots: Annotated[
        int,
        _setting("CALL_SLOTS", "calls that one pod takes at a time", "set it to a whole number from 1 up", ge=1),
    ] = 4
    call_memory_limit_mib: Annotated[
        int,
        _setting(
            "CALL_MEMORY_LIMIT_MIB",
            "memory of one call's process, without what it shares, beyond which it is ended, so that it does not take "
            "the pod's other calls with it; another pod takes the call up. 0: none",
            "set it to a whole number of MiB from 0 up",
            ge=0,
        ),
    ] = 512
    idle_processes: Annotated[
        int,
        _setting(
            "IDLE_PROCESSES",
            "processes kept warm for the next calls; each is 20 to 60 MiB and saves a call 0.3 to 3 s",
            "set it to a whole number from 0 up",
            ge=0,
        ),
    ] = 1
    gemini_model: Annotated[
        str | None,
        _setting(
            "GEMINI_MODEL",
            "Gemini Live model; by default the one that LiveKit's plugin prefers for the API in use",
            "set it to a model with the Live API",
        ),
    ] = None
    gemini_voice: Annotated[
        str, _setting("GEMINI_VOICE", "voice that the model speaks with", "set it to a Gemini Live voice")
    ] = "Puck"
    google_api_key: Annotated[
        SecretStr | None,
        _setting("GOOGLE_API_KEY", "key of the Gemini Developer API", "set it to a key of the Gemini Developer API"),
    ] = None
    use_vertexai: Annotated[
        bool,
        _setting(
            "GOOGLE_GENAI_USE_VERTEXAI",
            "true: Vertex AI with the pod's own identity, instead of the Developer API with a key",
            "set it to true or false",
        ),
    ] = False
    google_cloud_project: Annotated[
        str | None,
        _setting(
            "GOOGLE_CLOUD_PROJECT",
            "project of Vertex AI, and of the traces that log lines point to",
            "set it to a project ID",
        ),
    ] = None
    google_cloud_location: Annotated[
        str, _setting("GOOGLE_CLOUD_LOCATION", "region of Vertex AI", "set it to a region, for example us-central1")
    ] = "us-central1"
    gemini_base_url: Annotated[
        Annotated[str, _url("https", "wss", "http", "ws")] | None,
        _setting(
            "GEMINI_BASE_URL",
            "another endpoint for Gemini: Private Service Connect, a gateway, a simulator. With an API key the "
            "connection is always TLS; a private CA is trusted by `SSL_CERT_FILE`",
            "set it to a URL without a path, for example https://gemini.example.internal",
        ),
    ] = None
    gemini_stall_seconds: Annotated[
        float,
        _setting(
            "GEMINI_STALL_SECONDS",
            "how long Gemini may say nothing while it owes the caller an answer, or the rest of one, before the "
            "connection is replaced and the caller's words are given to the new one",
            "set it to a number of seconds from 1 up",
            ge=1,
        ),
    ] = 10
    gemini_reconnect_seconds: Annotated[
        float,
        _setting(
            "GEMINI_RECONNECT_SECONDS",
            "how long a call goes on trying to reach Gemini before it ends with an error",
            "set it to a number of seconds from 0 up",
            ge=0,
        ),
    ] = 30
    vad: Annotated[
        VadChoice,
        _setting(
            "VAD",
            "voice activity detection in the worker, besides Gemini's own: `none` or `silero`",
            "set it to none or silero",
        ),
    ] = VadChoice.NONE
    drain_timeout_seconds: Annotated[
        int,
        _setting(
            "DRAIN_TIMEOUT_SECONDS",
            "how long live calls may go on after SIGTERM before they are cut",
            "set it to a whole number of seconds from 0 up; the pod's grace period must be at least 105 s longer",
            ge=0,
        ),
    ] = 480
    drain_finish_within_seconds: Annotated[
        int,
        _setting(
            "DRAIN_FINISH_WITHIN_SECONDS",
            "how long after SIGTERM live calls may end by themselves before they are handed over to other pods",
            "set it to a whole number of seconds from 0 up, less than DRAIN_TIMEOUT_SECONDS",
            ge=0,
        ),
    ] = 30
    keeper_url: Annotated[
        Annotated[str, _url("http", "https")] | None,
        _setting(
            "KEEPER_URL",
            "the keepers, which have calls of pods that died taken up by others: a name behind which every keeper's "
            "address is, as of a headless Service; without it such calls are lost",
            "set it to the keepers' Service, for example http://voice-agent-keeper.voice.svc:8090",
        ),
    ] = None
    keeper_token_file: Annotated[
        str | None,
        _setting(
            "KEEPER_TOKEN_FILE",
            "a service-account token with the audience `voice-agent-keeper`, as Kubernetes mounts and renews it",
            "set it to the path at which the token is mounted",
        ),
    ] = None
    keeper_secret: Annotated[
        SecretStr | None,
        _setting(
            "KEEPER_SECRET",
            "outside of Kubernetes, in the token's place: a secret that workers and keepers share",
            "set it to the same secret as the keepers'",
        ),
    ] = None
    state_keys: Annotated[
        SecretStr | None,
        _setting(
            "STATE_KEYS",
            "keys that snapshots of calls are encrypted with, separated by commas, each base64 of 32 bytes; the first "
            "one encrypts, each decrypts: a new one is put first. Without a key the keepers hold them readable",
            "set it to one key or more, each as `openssl rand 32 | basenc --base64url` prints it",
        ),
    ] = None
    recovery_line: Annotated[
        str,
        _setting(
            "RECOVERY_LINE",
            "what the caller is told, in the language of the conversation, when another pod takes up a call whose pod "
            "died and nothing waits for an answer; empty: nothing",
            "set it to a sentence, or to nothing",
        ),
    ] = "Sorry, I lost you for a moment. Please go on."
    traces_exporter: Annotated[
        TracesExporter,
        _setting(
            "OTEL_TRACES_EXPORTER",
            "where spans go: `none`, `otlp` or `gcp` (Cloud Trace)",
            "set it to otlp, gcp or none",
        ),
    ] = TracesExporter.NONE
    otlp_protocol: Annotated[
        OtlpProtocol,
        _setting(
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "how spans travel: `http/protobuf` (usually port 4318) or `grpc` (usually port 4317)",
            "set it to http/protobuf or grpc",
        ),
    ] = OtlpProtocol.HTTP
    otlp_endpoint: Annotated[
        Annotated[str, _url("http", "https")] | None,
        _setting(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "the OTLP receiver; the other standard `OTEL_EXPORTER_OTLP_*` variables work too",
            "set it to the receiver's URL, for example http://otel-collector.monitoring:4318",
        ),
    ] = None
    otlp_traces_endpoint: Annotated[
        Annotated[str, _url("http", "https")] | None,
        _setting(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "the receiver's full URL for traces, where it differs",
            "set it to the full URL, for example http://otel-collector.monitoring:4318/v1/traces",
        ),
    ] = None
    log_level: Annotated[
        LogLevel,
        _upper,
        _setting("LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING` or `ERROR`", "set it to DEBUG, INFO, WARNING or ERROR"),
    ] = LogLevel.INFO
    log_format: Annotated[
        LogFormat,
        _setting("LOG_FORMAT", "`json` (with Google Cloud's trace fields) or `text`", "set it to json or text"),
    ] = LogFormat.JSON
    probe_port: Annotated[
        int,
        _setting("PROBE_PORT", "port of `/livez` and `/readyz`", "set it to a port from 1 to 65535", ge=1, le=65535),
    ] = 8080
    metrics_port: Annotated[
        int,
        _setting("METRICS_PORT", "port of `/metrics` (Prometheus)", "set it to a port from 1 to 65535", ge=1, le=65535),
    ] = 9090
    pod_name: Annotated[
        str,
        _setting("POD_NAME", "the pod, from the downward API; the host's name by default", "set it from metadata.name"),
    ] = Field(default_factory=platform.node)
    pod_namespace: Annotated[
        str | None, _setting("POD_NAMESPACE", "its namespace", "set it from metadata.namespace")
    ] = None
    node_name: Annotated[str | None, _setting("NODE_NAME", "its node", "set it from spec.nodeName")] = None


def parse(environment: Mapping[str, str]) -> tuple[Settings, list[Problem]]:
    """The settings in `environment`, and every problem that they have.

    With problems, what is wrong is replaced by a default or a stand-in, so that checks that look at several
    settings can go on: one start shows every problem.
    """
    values = {name: value for name, value in environment.items() if value.strip() or name in MEANINGFUL_WHEN_EMPTY}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems = _problems(error, values)
        wrong = {problem.variable for problem in problems}
        rest = {name: value for name, value in values.items() if name not in wrong}
        settings = Settings.model_validate(_STAND_INS | rest)
        return settings, problems + [problem for problem in _conflicts(settings) if problem.variable not in wrong]
    return settings, _conflicts(settings)


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


def markdown_table() -> str:
    """The settings as the table of the image's README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for field in Settings.model_fields.values():
        if field.is_required():
            default = "required"
        elif field.default_factory is not None or field.default is None:
            default = "none"
        else:
            value = field.default
            default = f"`{str(value).lower() if isinstance(value, bool) else value}`"
        lines.append(f"| `{field.alias}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


_SECRETS = frozenset({"LIVEKIT_API_SECRET", "GOOGLE_API_KEY", "KEEPER_SECRET", "STATE_KEYS"})
_STAND_INS = {"LIVEKIT_URL": "ws://unknown", "LIVEKIT_API_KEY": "unknown", "LIVEKIT_API_SECRET": "unknown"}


def _problems(error: ValidationError, values: Mapping[str, str]) -> list[Problem]:
    fields = {field.alias: field for field in Settings.model_fields.values()}
    problems = []
    for detail in error.errors(include_url=False):
        variable = str(detail["loc"][0])
        extra = fields[variable].json_schema_extra
        fix = str(extra["fix"]) if isinstance(extra, dict) else ""
        reason = "it is required" if detail["type"] == "missing" else detail["msg"].removeprefix("Value error, ")
        problems.append(Problem(variable, _shown(variable, values.get(variable)), reason, fix))
    return problems


def _shown(variable: str, value: str | None) -> str | None:
    secret = variable in _SECRETS
    return f"(hidden, {len(value)} characters)" if secret and value is not None else value


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
