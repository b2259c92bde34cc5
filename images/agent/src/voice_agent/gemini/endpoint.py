"""Where Gemini is: on either API, at any endpoint."""

from __future__ import annotations

import os
import ssl
from functools import lru_cache
from pathlib import Path

import certifi
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
    options = types.HttpOptions(
        base_url=settings.gemini_base_url,
        api_version="v1beta1" if settings.use_vertexai else "v1beta",
        timeout=CONNECT_TIMEOUT_SECONDS * 1000,
    )
    # With Vertex AI google-genai may have to show a client's certificate, and knows best where that is.
    if not settings.use_vertexai:
        trust = trusted()
        options.client_args = {"verify": trust}
        # By one name for httpx, by the other for aiohttp and the connection itself; each leaves the other's out.
        options.async_client_args = {"verify": trust, "ssl": trust}
    return options


def trusted() -> ssl.SSLContext:
    """The authorities that Gemini's certificate may be from: those that google-genai trusts for a session, read once.

    google-genai 3.4.0 reads them three times for each client, while a caller waits.

    Raises:
        OSError: SSL_CERT_FILE cannot be read.
    """
    file, folder = os.environ.get("SSL_CERT_FILE") or certifi.where(), os.environ.get("SSL_CERT_DIR")
    return _read(file, folder, Path(file).stat().st_mtime_ns)


# By the time of its change: a process that is made later than that knows the new ones.
@lru_cache(maxsize=1)
def _read(file: str, folder: str | None, _: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=file, capath=folder)


def api_key(settings: Settings) -> str | None:
    """The Developer API's key, if one is set."""
    return settings.google_api_key.get_secret_value() if settings.google_api_key else None
