"""Gemini Live as this project uses it: resumable, compressed, on either API and any endpoint."""

from __future__ import annotations

from google.genai import Client, types
from livekit.agents.types import NOT_GIVEN
from livekit.plugins.google.realtime import RealtimeModel

from voice_agent.settings import Settings

# Without a limit a connection that never answers would leave its caller in silence.
CONNECT_TIMEOUT_SECONDS = 10


def realtime_model(settings: Settings) -> RealtimeModel:
    """The model for one call.

    Session resumption lets the plugin carry a conversation over Gemini's limit of about 10 minutes a
    connection, GoAway and close 1011; compression lifts the limit of 15 minutes an audio session. Close 1007
    (context exhausted) stays fatal: replaying the same context would fail the same way.
    """
    return RealtimeModel(
        model=settings.gemini_model or NOT_GIVEN,
        voice=settings.gemini_voice,
        vertexai=settings.use_vertexai,
        api_key=_key(settings) or NOT_GIVEN,
        project=settings.google_cloud_project or NOT_GIVEN,
        location=settings.google_cloud_location,
        session_resumption=types.SessionResumptionConfig(),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        http_options=http_options(settings),
    )


def client(settings: Settings) -> Client:
    """A google-genai client for the same endpoint as the model's."""
    return Client(
        vertexai=settings.use_vertexai,
        api_key=None if settings.use_vertexai else _key(settings),
        project=settings.google_cloud_project if settings.use_vertexai else None,
        location=settings.google_cloud_location if settings.use_vertexai else None,
        http_options=http_options(settings),
    )


def http_options(settings: Settings) -> types.HttpOptions:
    """Where and how google-genai connects.

    The versions are those that serve the Live API's preview models and options; google-genai's own default
    for the Developer API, v1, does not.
    """
    return types.HttpOptions(
        base_url=settings.gemini_base_url,
        api_version="v1beta1" if settings.use_vertexai else "v1beta",
        timeout=CONNECT_TIMEOUT_SECONDS * 1000,
    )


def _key(settings: Settings) -> str | None:
    return settings.google_api_key.get_secret_value() if settings.google_api_key else None
