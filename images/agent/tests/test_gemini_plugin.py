"""The private names of LiveKit's plugin and google-genai that our session stands on: a new version may change them."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from google.genai.live import AsyncSession
from livekit.agents import llm
from livekit.plugins.google.realtime import realtime_api as plugin

from voice_agent.gemini import connection, session

PLUGIN = inspect.getsource(plugin.RealtimeSession) + inspect.getsource(llm.RealtimeSession)
OWN = {"self", "super()"}


def private_names() -> set[str]:
    """What our session uses of itself, and neither defines nor sets."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(session.ResumableSession))))
    used = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) in OWN}
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    [init] = [node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    set_first = {node.attr for node in ast.walk(init) if isinstance(node, ast.Attribute)}
    return {name for name in used - defined - set_first if name.startswith("_")} | {"_session_resumption_handle"}


@pytest.mark.parametrize("name", sorted(private_names()))
def test_the_plugin_has_it(name: str) -> None:
    assert re.search(rf"\b(self\.|def ){name}\b", PLUGIN), f"the plugin has no {name} any more: see gemini/session.py"


@pytest.mark.parametrize(
    "name", ["_main_task", "_send_client_event", "_handle_go_away", "_mark_current_generation_done"]
)
def test_the_plugin_calls_what_is_overridden(name: str) -> None:
    assert f"self.{name}(" in PLUGIN, f"the plugin calls {name} no more: see gemini/session.py"


def test_a_generation_tells_whether_it_is_done() -> None:
    assert {"_done", "input_transcription", "output_text"} <= set(plugin._ResponseGeneration.__dataclass_fields__)


def test_the_socket_is_where_it_is_closed_by_force() -> None:
    assert "_session._ws.transport" in inspect.getsource(connection)
    assert "self._ws.close()" in inspect.getsource(AsyncSession.close)
