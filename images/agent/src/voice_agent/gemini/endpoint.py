"""Where Gemini is: on either API, at any endpoint."""

from __future__ import annotations

from google.genai import Client, types

from voice_agent.settings import Settings

# Without a limit a connection that never answers would leave its caller in silence.
CONNECT_TIMEOUT_SECONDS = 10


def client(settings: Settings) -> Client:
    """A google-genai client for the same endpoint as the model's."""
    return Client(
        vertexai=settings.use_vertexai,
        api_key=None if settings.use_vertexai else api_key(settings),
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


def api_key(settings: Settings) -> str | None:
    """The Developer API's key, if one is set."""
    return settings.google_api_key.get_secret_value() if settings.google_api_key else None
