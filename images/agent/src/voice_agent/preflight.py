"""What can be checked before any connection is made."""

from __future__ import annotations

from collections.abc import Mapping

from voice_agent import agents
from voice_agent.settings import Settings, SettingsError, missing_for_gemini, parse


def preflight(environment: Mapping[str, str]) -> Settings:
    """The settings in `environment`, whose agent can be made and has a model to talk with.

    Raises:
        SettingsError: with every problem there is.
    """
    settings, problems = parse(environment)
    try:
        if not agents.brings_model(settings.agent_class):
            problems += missing_for_gemini(settings)
    except SettingsError as error:
        problems += error.problems
    if problems:
        raise SettingsError(problems)
    return settings
