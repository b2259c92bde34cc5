"""The documented ways to bring a call to the agent do bring it there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from livekit import api

from lab.livekit import LiveKit, livekit_server
from lab.paths import CHART, ROOT

DISPATCH = ROOT / "examples" / "dispatch"
KEYS = {"LIVEKIT_API_KEY": "key", "LIVEKIT_API_SECRET": "a-secret-of-at-least-thirty-two-characters"}


@pytest.fixture(scope="module")
def livekit() -> Iterator[LiveKit]:
    with livekit_server() as server:
        yield server


def run(script: str, *args: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, DISPATCH / script, *args],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_token_joins_the_room_and_brings_the_agent() -> None:
    token = run("by_token.py", "room-1", "alice", "--agent", "florist", environment=KEYS)

    claims = api.TokenVerifier(*KEYS.values()).verify(token)
    assert (claims.identity, claims.video and claims.video.room) == ("alice", "room-1")
    assert claims.room_config is not None
    assert [agent.agent_name for agent in claims.room_config.agents] == ["florist"]


def test_sip_rule_is_a_request_that_livekit_understands() -> None:
    text = Path(DISPATCH, "by_sip_rule.json").read_text()

    request = json_format.Parse(text, api.CreateSIPDispatchRuleRequest())

    assert request.dispatch_rule.rule.dispatch_rule_individual.room_prefix == "call-"
    assert [agent.agent_name for agent in request.dispatch_rule.room_config.agents] == ["voice-agent"]


def test_sip_rule_names_the_charts_default_agent() -> None:
    rule = json.loads(Path(DISPATCH, "by_sip_rule.json").read_text())
    values = yaml.safe_load(Path(CHART, "values.yaml").read_text())

    assert rule["dispatch_rule"]["roomConfig"]["agents"] == [{"agentName": values["agent"]["name"]}]


@pytest.mark.integration
async def test_api_call_sends_the_agent_to_the_room(livekit: LiveKit) -> None:
    environment = {
        "LIVEKIT_URL": livekit.url,
        "LIVEKIT_API_KEY": livekit.key,
        "LIVEKIT_API_SECRET": livekit.secret,
    }

    created = run("by_api_call.py", "room-2", "--agent", "florist", environment=environment)

    async with api.LiveKitAPI(livekit.url, livekit.key, livekit.secret) as client:
        dispatches = await client.agent_dispatch.list_dispatch("room-2")
    assert (created, "florist") in [(each.id, each.agent_name) for each in dispatches]
