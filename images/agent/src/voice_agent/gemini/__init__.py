"""Gemini Live as this project uses it: a call that outlives its connections, here and in another pod."""

from voice_agent.gemini.checkpoint import Gap, ModelCheckpoint, Progress, ToolCall
from voice_agent.gemini.endpoint import CONNECT_TIMEOUT_SECONDS, client, http_options
from voice_agent.gemini.model import ResumableModel, realtime_model
from voice_agent.gemini.recovery import LostHereError
from voice_agent.gemini.session import ResumableSession
from voice_agent.gemini.trial import refusal, set_up

__all__ = [
    "CONNECT_TIMEOUT_SECONDS",
    "Gap",
    "LostHereError",
    "ModelCheckpoint",
    "Progress",
    "ResumableModel",
    "ResumableSession",
    "ToolCall",
    "client",
    "http_options",
    "realtime_model",
    "refusal",
    "set_up",
]
