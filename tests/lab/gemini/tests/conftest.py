"""The simulator with short clocks, and the unmodified google-genai client in front of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from google import genai
from google.genai import types
from google.genai.live import AsyncSession

from lab.gemini import Behaviour, Simulator, simulator
from lab.gemini.tests.client import MODEL, Connect


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    quick = Behaviour(setup_s=0.01, endpointing_s=0.2, latency_s=0.02, answer_s=0.8, long_answer_s=20.0)
    quick.update({"pace": 100, "playback_pace": 10})
    async with simulator(quick) as running:
        yield running


@pytest.fixture
def http_options(sim: Simulator) -> types.HttpOptions:
    trust = ssl.create_default_context(cafile=str(sim.certificate))
    # The default from Python 3.13 on, with which the agent image runs.
    trust.verify_flags |= ssl.VERIFY_X509_STRICT
    return types.HttpOptions(base_url=sim.url, api_version="v1beta", async_client_args={"ssl": trust})


@pytest.fixture
def connect(http_options: types.HttpOptions) -> Connect:
    client = genai.Client(api_key="test", vertexai=False, http_options=http_options)

    def open_session(**config: Any) -> AbstractAsyncContextManager[AsyncSession]:
        config.setdefault("response_modalities", ["AUDIO"])
        config.setdefault("input_audio_transcription", {})
        config.setdefault("output_audio_transcription", {})
        return client.aio.live.connect(model=MODEL, config=types.LiveConnectConfig(**config))

    return open_session
