"""What the README shows works."""

from __future__ import annotations

import re
from pathlib import Path

from google.protobuf.json_format import Parse
from livekit.protocol.sip import CreateSIPDispatchRuleRequest

from voice_agent.settings import markdown_tables

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_it_has_the_table_of_settings() -> None:
    assert markdown_tables() in README, "run `make generate`"


def test_its_sip_dispatch_rule_is_one() -> None:
    [shown] = re.findall(r"```json\n(.*?)```", README, re.DOTALL)

    rule = Parse(shown, CreateSIPDispatchRuleRequest()).dispatch_rule

    assert [agent.agent_name for agent in rule.room_config.agents] == ["voice-agent"]
    assert rule.rule.WhichOneof("rule") == "dispatch_rule_individual"
