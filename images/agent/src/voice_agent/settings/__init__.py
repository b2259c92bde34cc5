"""Settings from the environment; credentials from files, too."""

from voice_agent.settings.base import Common, LogFormat, LogLevel, markdown_table, variables
from voice_agent.settings.credentials import lend_to_libraries, sources
from voice_agent.settings.keeper import KeeperSettings, StateStore, parse_keeper
from voice_agent.settings.problem import Problem, SettingsError
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
    "lend_to_libraries",
    "markdown_tables",
    "missing_for_gemini",
    "parse",
    "parse_keeper",
    "sources",
    "variables",
]


def markdown_tables() -> str:
    """All settings as the tables of the image's README."""
    kinds: dict[str, type[Common]] = {"Of a worker": Settings, "Of a keeper": KeeperSettings}
    return "\n".join(f"**{title}**\n\n{markdown_table(kind)}" for title, kind in kinds.items())
