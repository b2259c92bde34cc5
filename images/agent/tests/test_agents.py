"""Bring your own agent: what AGENT_CLASS may name, and what is said when it cannot be used."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from voice_agent import agents
from voice_agent.settings import SettingsError

WriteModule = Callable[[str, str], None]

PLAIN = """
from livekit.agents import Agent

class Plain(Agent):
    def __init__(self):
        super().__init__(instructions="Be plain.")
"""


def error_of(path: str) -> str:
    with pytest.raises(SettingsError) as caught:
        agents.brings_model(path)
    [problem] = caught.value.problems
    assert (problem.variable, problem.value) == ("AGENT_CLASS", path)
    return str(caught.value)


def test_the_default_agent_talks_with_the_model_of_the_settings() -> None:
    assert not agents.brings_model("voice_agent.assistant:Assistant")


def test_a_plain_agent_will_do(write_module: WriteModule) -> None:
    write_module("plain_agent", PLAIN)

    assert not agents.brings_model("plain_agent:Plain")


def test_an_agent_may_bring_a_model(write_module: WriteModule) -> None:
    write_module(
        "own_model",
        PLAIN.replace('"Be plain."', '"Be plain.", llm=RealtimeModel(api_key="k")').replace(
            "import Agent", "import Agent\nfrom livekit.plugins.google.realtime import RealtimeModel"
        ),
    )

    assert agents.brings_model("own_model:Plain")


def test_an_agent_may_ask_for_its_call_while_it_is_made(write_module: WriteModule) -> None:
    write_module(
        "asks_for_call",
        PLAIN.replace("        super", "        self.call = get_job_context()\n        super").replace(
            "import Agent", "import Agent, get_job_context"
        ),
    )

    assert not agents.brings_model("asks_for_call:Plain")


def test_a_missing_module() -> None:
    text = error_of("no_such_package.agent:Agent")
    assert "there is no module no_such_package" in text
    assert "PYTHONPATH" in text


def test_a_module_that_imports_a_missing_one(write_module: WriteModule) -> None:
    write_module("needs_more", "import not_installed_library\n")

    assert "needs_more imports not_installed_library, which is not there" in error_of("needs_more:Agent")


def test_a_module_that_fails(write_module: WriteModule) -> None:
    write_module("fails", "raise RuntimeError('no luck today')\n")

    assert "importing fails failed: RuntimeError: no luck today" in error_of("fails:Agent")


def test_a_misspelt_class_is_told_with_those_there_are(write_module: WriteModule) -> None:
    write_module("misspelt", PLAIN)

    assert "it has Plain" in error_of("misspelt:Plane")


def test_a_class_that_is_no_agent(write_module: WriteModule) -> None:
    write_module("no_agent", "class Plain: ...\n")

    assert "Plain is not a subclass of livekit.agents.Agent" in error_of("no_agent:Plain")


def test_a_class_that_needs_arguments(write_module: WriteModule) -> None:
    write_module("needs_arguments", PLAIN.replace("(self)", "(self, mood)"))

    text = error_of("needs_arguments:Plain")
    assert "'mood'" in text
    assert "without arguments" in text
