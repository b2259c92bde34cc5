"""The documented way to bring one's own agent works with the image's code as it is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from livekit.agents import ToolError
from livekit.agents.llm import FunctionTool

from lab.paths import ROOT
from voice_agent import agents

EXAMPLE = ROOT / "examples" / "own-agent"


@pytest.fixture
def agent_class(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(EXAMPLE)
    values = yaml.safe_load((EXAMPLE / "values.yaml").read_text())
    return str(values["agent"]["class"])


def tool(agent_class: str) -> FunctionTool[..., Any]:
    [found] = agents.load(agent_class)().tools
    assert isinstance(found, FunctionTool)
    return found


def test_agent_of_the_values_file_can_be_loaded(agent_class: str) -> None:
    assert type(agents.load(agent_class)()).__name__ == "Florist"
    assert not agents.brings_model(agent_class), "it would not use Gemini Live"


async def test_tool_answers(agent_class: str) -> None:
    assert await tool(agent_class)(1001) == "Order 1001 is on its way and arrives today."


async def test_tool_says_what_to_do_about_an_unknown_order(agent_class: str) -> None:
    with pytest.raises(ToolError, match="no order 7; ask the caller"):
        await tool(agent_class)(7)
