"""Gemini Live as this project uses it: a call that outlives its connections, here and in another pod."""

from voice_agent.gemini.checkpoint import Gap, ModelCheckpoint, Progress, ToolCall
from voice_agent.gemini.endpoint import CONNECT_TIMEOUT_SECONDS, client, http_options
from voice_agent.gemini.model import ResumableModel, realtime_model
from voice_agent.gemini.recovery import Ending, LostHereError
from voice_agent.gemini.session import ResumableSession
from voice_agent.gemini.trial import fails, set_up

__all__ = [
    "CONNECT_TIMEOUT_SECONDS",
    "Ending",
    "Gap",
    "LostHereError",
    "ModelCheckpoint",
    "Progress",
    "ResumableModel",
    "ResumableSession",
    "ToolCall",
    "client",
    "fails",
    "http_options",
    "realtime_model",
    "set_up",
]
