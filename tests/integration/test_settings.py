"""Bad input ends the start with exit code 2 and a text, before any connection."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from lab.livekit import LiveKit
from lab.worker import worker


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"LIVEKIT_URL": "http://127.0.0.1:7880"}, "LIVEKIT_URL=http://127.0.0.1:7880"),
        ({"AGENT_CLASS": "no_such_package:Agent"}, "there is no module no_such_package"),
        ({"LIVEKIT_API_KEY": "", "GOOGLE_API_KEY": ""}, "2 settings are wrong"),
    ],
    ids=["url", "agent class", "keys"],
)
async def test_a_wrong_setting_ends_the_start(variables: dict[str, str], wrong: dict[str, str], told: str) -> None:
    async with worker(variables | wrong) as pod:
        assert await pod.exit_code() == 2

    assert told in pod.text()
    assert "Fix: set it to" in pod.text() or "Fix: install" in pod.text()
    assert "Traceback" not in pod.text()
    assert "registered worker" not in pod.text()


async def test_a_taken_port_ends_the_start(variables: dict[str, str], livekit: LiveKit) -> None:
    taken = str(urlsplit(livekit.url).port)
    async with worker(variables | {"METRICS_PORT": taken}) as pod:
        assert await pod.exit_code() == 2

    assert f"METRICS_PORT={taken}" in pod.text()
    assert "set it to a free port" in pod.text()
