"""How the model is set up from the settings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from voice_agent import gemini
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
