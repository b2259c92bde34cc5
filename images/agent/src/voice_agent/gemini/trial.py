"""Whether Gemini would have a session with this process at all, tried without a word of a conversation."""

from __future__ import annotations

from google.genai import Client, types

from voice_agent.gemini.connection import connected
from voice_agent.gemini.recovery import Ending


async def set_up(client: Client, model: str, voice: str) -> None:
    """Set a session up and close it.

    Args:
        client: of calls, with their endpoint and credentials.
        model: the model's name.
        voice: the name of a prebuilt voice.

    Raises:
        Exception: see `connected`.
    """
    speech = types.SpeechConfig(
        voice_config=types.VoiceConfig(prebuilt_voice_config=types.PrebuiltVoiceConfig(voice_name=voice))
    )
    config = types.LiveConnectConfig(response_modalities=[types.Modality.AUDIO], speech_config=speech)
    async with connected(client, model, config):
        pass


async def fails(client: Client, model: str, voice: str) -> Ending | None:
    """How the attempt at a session ended; None if it was set up.

    Args:
        client: see `set_up`.
        model: see `set_up`.
        voice: see `set_up`.
    """
    try:
        await set_up(client, model, voice)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a refusal or no answer
        return Ending.of(error, at_setup=True)
    return None
