"""How the model is set up from the settings."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest

from voice_agent import gemini
from voice_agent.gemini import endpoint
from voice_agent.settings import Settings

MakeSettings = Callable[..., Settings]


def test_the_developer_api_is_reached_with_a_key(make_settings: MakeSettings) -> None:
    model = gemini.realtime_model(make_settings(GEMINI_MODEL="gemini-3.8-live", GEMINI_VOICE="Kore"))

    assert (model.provider, model.model) == ("Gemini", "gemini-3.8-live")


def test_vertex_ai_is_reached_without_a_key(make_settings: MakeSettings) -> None:
    settings = make_settings(GOOGLE_GENAI_USE_VERTEXAI="true", GOOGLE_CLOUD_PROJECT="p", GOOGLE_API_KEY="")

    assert gemini.realtime_model(settings).provider == "Vertex AI"


def test_the_settings_win_over_the_libraries_own_reading(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_GENAI_USE_VERTEXAI", "true")

    assert gemini.realtime_model(make_settings()).provider == "Gemini"


@pytest.mark.parametrize(("vertex", "version"), [("false", "v1beta"), ("true", "v1beta1")])
def test_another_endpoint_is_asked_for_the_version_with_the_live_api(
    make_settings: MakeSettings, vertex: str, version: str
) -> None:
    options = gemini.http_options(
        make_settings(GEMINI_BASE_URL="https://gemini.internal", GOOGLE_GENAI_USE_VERTEXAI=vertex)
    )

    assert (options.base_url, options.api_version) == ("https://gemini.internal", version)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The files of authorities that have been read."""
    reads: list[object] = []
    read = ssl.create_default_context

    def noted(*arguments: Any, cafile: str | None = None, **options: Any) -> ssl.SSLContext:
        reads.append(cafile)
        return read(*arguments, cafile=cafile, **options)

    endpoint._read.cache_clear()
    monkeypatch.setattr(ssl, "create_default_context", noted)
    return reads


def test_the_authorities_are_read_once_however_many_calls_there_are(
    make_settings: MakeSettings, reads: list[object]
) -> None:
    clients = [gemini.client(make_settings()) for _ in range(3)]

    assert len(reads) == 1
    connection = clients[0]._api_client
    assert connection._websocket_ssl_ctx == {"ssl": endpoint.trusted()}
    assert connection._async_client_session_request_args["ssl"] is endpoint.trusted()
    assert connection._async_httpx_client_args["verify"] is endpoint.trusted()


def test_with_vertex_ai_google_genai_decides_whom_to_trust(make_settings: MakeSettings) -> None:
    """It may have to show a client's certificate."""
    options = gemini.http_options(make_settings(GOOGLE_GENAI_USE_VERTEXAI="true", GOOGLE_CLOUD_PROJECT="p"))

    assert (options.client_args, options.async_client_args) == (None, None)


def test_other_authorities_are_trusted_as_soon_as_they_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reads: list[object]
) -> None:
    authorities = tmp_path / "ca.crt"
    authorities.write_bytes(Path(certifi.where()).read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities))
    before = endpoint.trusted()
    assert endpoint.trusted() is before

    os.utime(authorities, (1, 1))

    assert endpoint.trusted() is not before
    assert reads == [str(authorities)] * 2
