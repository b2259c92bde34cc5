"""What can be checked before any connection is made."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import NamedTuple

from voice_agent import agents
from voice_agent.call.keeping import seal_of
from voice_agent.settings import Problem, Settings, SettingsError, lend_to_libraries, missing_for_gemini, parse
from voice_agent.state.seal import SealError


class Checked(NamedTuple):
    """Settings with which calls can be held, and whether the agent brings a model of its own."""

    settings: Settings
    own_model: bool


def preflight(environment: MutableMapping[str, str]) -> Checked:
    """The settings in `environment`, whose agent can be made and has a model to talk with.

    Args:
        environment: the process's own, which gets the credentials that libraries look for in it.

    Raises:
        SettingsError: with every problem there is.
    """
    lend_to_libraries(environment)
    settings, problems = parse(environment)
    own_model = False
    try:
        own_model = agents.brings_model(settings.agent_class)
        if not own_model:
            problems += missing_for_gemini(settings)
    except SettingsError as error:
        problems += error.problems
    try:
        seal_of(settings)
    except SealError as error:
        fix = "set it to one key or more, separated by commas, each as `openssl rand 32 | basenc --base64url` prints it"
        problems.append(Problem("STATE_KEYS", "(hidden)", str(error), fix))
    if problems:
        raise SettingsError(problems)
    return Checked(settings, own_model)
