"""The documented way to bring one's own agent works with the image's code as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from livekit.agents import Agent, ToolError
from livekit.agents.llm import FunctionTool

from lab.paths import ROOT
from voice_agent import agents
from voice_agent.call.live import RestoresState, SavesState

EXAMPLE = ROOT / "examples" / "own-agent"


@pytest.fixture
def agent_class(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(EXAMPLE)
    values = yaml.safe_load((EXAMPLE / "values.yaml").read_text())
    return str(values["agent"]["class"])


def tool(agent: Agent, name: str) -> FunctionTool[..., Any]:
    [found] = [tool for tool in agent.tools if isinstance(tool, FunctionTool) and tool.info.name == name]
    return found


def test_agent_of_the_values_file_can_be_loaded(agent_class: str) -> None:
    assert type(agents.load(agent_class)()).__name__ == "Florist"
    assert not agents.brings_model(agent_class), "it would not use Gemini Live"


async def test_tool_answers(agent_class: str) -> None:
    order_status = tool(agents.load(agent_class)(), "order_status")
    assert await order_status(1001) == "Order 1001 is on its way and arrives today."


async def test_tool_says_what_to_do_about_an_unknown_order(agent_class: str) -> None:
    with pytest.raises(ToolError, match="no order 7; ask the caller"):
        await tool(agents.load(agent_class)(), "order_status")(7)


async def test_the_basket_moves_with_the_call(agent_class: str) -> None:
    first, second = agents.load(agent_class)(), agents.load(agent_class)()
    await tool(first, "put_into_basket")("ten white tulips")
    assert isinstance(first, SavesState)
    assert isinstance(second, RestoresState)
    # As it travels.
    second.restore_state(json.loads(json.dumps(first.save_state())))
    assert await tool(second, "put_into_basket")("a rose") == "In the basket: ten white tulips, a rose."
