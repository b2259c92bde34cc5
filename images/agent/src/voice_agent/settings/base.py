"""What all settings have in common, and how they are read from the environment."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping
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

from voice_agent.settings.credentials import CREDENTIALS, file_variable, read_files
from voice_agent.settings.problem import Problem, hidden

# Set to "" they mean something; every other variable set to "" counts as not set, because that is what a
# chart renders for a value that was left out.
MEANINGFUL_WHEN_EMPTY = frozenset({"AGENT_NAME", "RECOVERY_LINE"})
_STAND_INS = {
    "LIVEKIT_URL": "ws://unknown",
    "LIVEKIT_API_KEY": "unknown",
    "LIVEKIT_API_SECRET": "unknown",
    "GOOGLE_API_KEY": "unknown",
}


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
    from_files, problems = read_files(variables(kind), environment)
    unread = {variable for variable in CREDENTIALS if file_variable(variable) in {each.variable for each in problems}}
    values |= from_files | _stand_ins(unread)
    try:
        return kind.model_validate(values), problems
    except ValidationError as error:
        problems += _problems(kind, error, values)
        wrong = {problem.variable for problem in problems}
        rest = {name: value for name, value in values.items() if name not in wrong}
        return kind.model_validate(_stand_ins(wrong) | rest), problems


def variables(kind: type[Common]) -> list[str]:
    """The variables that settings of a kind are read from."""
    return [str(field.alias) for field in kind.model_fields.values()]


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
        variable = f"`{field.alias}`"
        if field.alias in CREDENTIALS:
            variable += f" or `{file_variable(field.alias)}`"
        lines.append(f"| {variable} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def _stand_ins(names: Collection[str]) -> dict[str, str]:
    return {name: value for name, value in _STAND_INS.items() if name in names}


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
    return hidden(value) if variable in CREDENTIALS and value is not None else value
