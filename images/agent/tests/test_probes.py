"""The endpoints that the kubelet and Prometheus ask."""

from __future__ import annotations

import aiohttp
import pytest

from voice_agent.settings import SettingsError
from voice_agent.telemetry import metrics as values
from voice_agent.worker.probes import metrics, probes

LOOPBACK = "127.0.0.1"


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.get(f"http://{LOOPBACK}:{port}{path}") as answer:
        return answer.status, (await answer.text()).strip()


async def test_readiness_follows_the_reason_and_liveness_does_not() -> None:
    reason: str | None = "not registered with LiveKit yet"

    async with probes(0, lambda: reason, LOOPBACK) as port:
        assert await get(port, "/readyz") == (503, "not registered with LiveKit yet")
        assert await get(port, "/livez") == (200, "ok")
        reason = None
        assert await get(port, "/readyz") == (200, "ok")
        reason = "draining"
        assert await get(port, "/readyz") == (503, "draining")
        assert await get(port, "/livez") == (200, "ok")


async def test_a_taken_port_is_a_setting_to_mend() -> None:
    async with probes(0, lambda: None, LOOPBACK) as port:
        with pytest.raises(SettingsError) as caught:
            async with metrics(port, LOOPBACK):
                pass

    text = str(caught.value)
    assert f"METRICS_PORT={port}" in text
    assert "set it to a free port" in text


async def test_metrics_tell_what_the_pod_takes() -> None:
    values.SLOTS.set(4)
    values.SLOTS_TAKEN.set(3)

    async with metrics(0, LOOPBACK) as port:
        status, text = await get(port, "/metrics")

    assert status == 200
    for line in ("voice_agent_call_slots 4.0", "voice_agent_call_slots_taken 3.0", "# TYPE voice_agent_draining gauge"):
        assert line in text.splitlines()
