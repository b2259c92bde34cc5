"""What the client may send that the real client would not: each a close with 1007, none a failure of the simulator."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import pytest
from google.genai import types
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from lab.gemini import Simulator
from lab.gemini.tests.client import DEADLINE_S

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
SETUP = {"setup": {"model": "models/test"}}


def raw(sim: Simulator, http_options: types.HttpOptions, path: str = PATH) -> connect:
    trust = (http_options.async_client_args or {})["ssl"]
    assert isinstance(trust, ssl.SSLContext)
    return connect(sim.url.replace("https", "wss") + path, ssl=trust)


async def closing(socket: ClientConnection) -> tuple[int | None, str | None]:
    async with asyncio.timeout(DEADLINE_S):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


@pytest.mark.parametrize(
    "first",
    [
        {},
        {"realtimeInput": {}},
        {"setup": {}},
        {"setup": 1},
        {"setup": {"model": "m", "tools": {"functionDeclarations": []}}},
        {"setup": {"model": "m", "tools": [{"functionDeclarations": [{}]}]}},
        {"setup": {"model": "m", "contextWindowCompression": {"triggerTokens": "many"}}},
    ],
)
async def test_a_wrong_first_message(sim: Simulator, http_options: types.HttpOptions, first: Any) -> None:
    async with raw(sim, http_options) as socket:
        await socket.send(json.dumps(first))
        code, reason = await closing(socket)
    assert code == 1007
    assert reason


@pytest.mark.parametrize(
    "message",
    [
        "not JSON",
        "[]",
        "{}",
        '{"unknown": {}}',
        '{"realtimeInput": {"audio": {"data": "?", "mimeType": "audio/pcm"}}}',
        '{"realtimeInput": {"audio": {"data": "AA==", "mimeType": "audio/pcm"}}}',
        '{"realtimeInput": {"audio": {"data": "AAA=", "mimeType": "audio/opus"}}}',
        '{"realtimeInput": {"audio": []}}',
        '{"clientContent": {"turns": "hello"}}',
        '{"clientContent": {"turns": [{"parts": [1]}]}}',
        '{"toolResponse": {"functionResponses": {}}}',
    ],
)
async def test_a_wrong_message(sim: Simulator, http_options: types.HttpOptions, message: str) -> None:
    async with raw(sim, http_options) as socket:
        await socket.send(json.dumps(SETUP))
        await socket.recv()
        await socket.send(message)
        assert (await closing(socket))[0] == 1007


async def test_both_spellings_of_keys_are_read(sim: Simulator, http_options: types.HttpOptions) -> None:
    for name in ("sessionResumption", "session_resumption"):
        async with raw(sim, http_options) as socket:
            await socket.send(json.dumps({"setup": {"model": "m", name: {"handle": "unknown"}}}))
            assert (await closing(socket))[0] == 1008


async def test_another_path_is_refused(sim: Simulator, http_options: types.HttpOptions) -> None:
    with pytest.raises(InvalidStatus) as refused:
        async with raw(sim, http_options, "/ws/other"):
            pass
    assert refused.value.response.status_code == 404
