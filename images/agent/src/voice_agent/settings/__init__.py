"""Settings from the environment, the only source there is."""

from voice_agent.settings.base import Common, LogFormat, LogLevel, Problem, SettingsError, markdown_table
from voice_agent.settings.keeper import KeeperSettings, StateStore, parse_keeper
from voice_agent.settings.worker import (
    OtlpProtocol,
    Settings,
    TracesExporter,
    VadChoice,
    missing_for_gemini,
    parse,
)

__all__ = [
    "Common",
    "KeeperSettings",
    "LogFormat",
    "LogLevel",
    "OtlpProtocol",
    "Problem",
    "Settings",
    "SettingsError",
    "StateStore",
    "TracesExporter",
    "VadChoice",
    "markdown_tables",
    "missing_for_gemini",
    "parse",
    "parse_keeper",
]


def markdown_tables() -> str:
    """All settings as the tables of the image's README."""
    kinds: dict[str, type[Common]] = {"Of a worker": Settings, "Of a keeper": KeeperSettings}
    return "\n".join(f"**{title}**\n\n{markdown_table(kind)}" for title, kind in kinds.items())
