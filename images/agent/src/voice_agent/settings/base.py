"""What all settings have in common: how they are read from the environment, and how a wrong one is told."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, TypeVar
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
_SECRETS = frozenset({"LIVEKIT_API_SECRET", "GOOGLE_API_KEY", "KEEPER_SECRET", "STATE_KEYS", "REDIS_PASSWORD"})
_STAND_INS = {"LIVEKIT_URL": "ws://unknown", "LIVEKIT_API_KEY": "unknown", "LIVEKIT_API_SECRET": "unknown"}


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


def url(*schemes: str) -> AfterValidator:
    """Lets only URLs with one of these schemes pass."""

    def check(value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in schemes or not parts.hostname:
            raise ValueError(f"it is not a URL that starts with {' or '.join(f'{s}://' for s in schemes)}")
        _ = parts.port  # raises ValueError when it is not a port number
        return value

    return AfterValidator(check)


def urls(*schemes: str) -> AfterValidator:
    """Lets only URLs with one of these schemes pass, one or several separated by commas."""
    one = url(*schemes).func

    def check(value: str) -> str:
        return ",".join(one(each.strip()) for each in value.split(","))  # type: ignore[call-arg]

    return AfterValidator(check)


def setting(variable: str, meaning: str, fix: str, **constraints: Any) -> Any:
    """A field read from `variable`; `fix` completes every error about it."""
    return Field(alias=variable, description=meaning, json_schema_extra={"fix": fix}, **constraints)


_upper = BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value)


class Common(BaseModel):
    """What every process of this image reads from its environment."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    livekit_url: Annotated[
        str,
        setting(
            "LIVEKIT_URL",
            "LiveKit server, `ws://` or `wss://`",
            "set it to your LiveKit server, for example wss://my-project.livekit.cloud",
        ),
        url("ws", "wss"),
    ]
    livekit_api_key: Annotated[
        str, setting("LIVEKIT_API_KEY", "LiveKit API key", "set it to a key of that LiveKit server")
    ]
    livekit_api_secret: Annotated[
        SecretStr,
        setting("LIVEKIT_API_SECRET", "secret of that key", "set it to the secret that belongs to LIVEKIT_API_KEY"),
    ]
    agent_name: Annotated[
        str,
        setting(
            "AGENT_NAME",
            "name that calls are dispatched to explicitly; empty for LiveKit's automatic dispatch to every room",
            "set it to the name in your dispatch rules, or to nothing for automatic dispatch",
        ),
    ] = "voice-agent"
    keeper_secret: Annotated[
        SecretStr | None,
        setting(
            "KEEPER_SECRET",
            "outside of Kubernetes, in the token's place: a secret that workers and keepers share",
            "set it to the same secret as the keepers'",
        ),
    ] = None
    google_cloud_project: Annotated[
        str | None,
        setting(
            "GOOGLE_CLOUD_PROJECT",
            "project of Vertex AI, and of the traces that log lines point to",
            "set it to a project ID",
        ),
    ] = None
    log_level: Annotated[
        LogLevel,
        _upper,
        setting("LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING` or `ERROR`", "set it to DEBUG, INFO, WARNING or ERROR"),
    ] = LogLevel.INFO
    log_format: Annotated[
        LogFormat,
        setting("LOG_FORMAT", "`json` (with Google Cloud's trace fields) or `text`", "set it to json or text"),
    ] = LogFormat.JSON
    pod_name: Annotated[
        str,
        setting("POD_NAME", "the pod, from the downward API; the host's name by default", "set it from metadata.name"),
    ] = Field(default_factory=platform.node)
    pod_namespace: Annotated[
        str | None, setting("POD_NAMESPACE", "its namespace", "set it from metadata.namespace")
    ] = None
    node_name: Annotated[str | None, setting("NODE_NAME", "its node", "set it from spec.nodeName")] = None


Kind = TypeVar("Kind", bound="Common")


def read(kind: type[Kind], environment: Mapping[str, str]) -> tuple[Kind, list[Problem]]:
    """The settings of a kind in `environment`, and every problem that a single one of them has.

    With problems, what is wrong is replaced by a default or a stand-in, so that checks that look at several
    settings can go on: one start shows every problem.
    """
    values = {name: value for name, value in environment.items() if value.strip() or name in MEANINGFUL_WHEN_EMPTY}
    try:
        return kind.model_validate(values), []
    except ValidationError as error:
        problems = _problems(kind, error, values)
        wrong = {problem.variable for problem in problems}
        rest = {name: value for name, value in values.items() if name not in wrong}
        return kind.model_validate(_STAND_INS | rest), problems


def markdown_table(kind: type[Common]) -> str:
    """The settings of a kind as a table of the image's README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for field in kind.model_fields.values():
        if field.is_required():
            default = "required"
        elif field.default_factory is not None or field.default is None:
            default = "none"
        else:
            value = field.default
            default = f"`{str(value).lower() if isinstance(value, bool) else value}`"
        lines.append(f"| `{field.alias}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _problems(kind: type[Common], error: ValidationError, values: Mapping[str, str]) -> list[Problem]:
    fields = {field.alias: field for field in kind.model_fields.values()}
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
