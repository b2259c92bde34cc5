"""The model for one call: resumable, compressed, on either API and any endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.genai import types
from livekit.agents.types import NOT_GIVEN
from livekit.plugins.google.realtime import RealtimeModel

from voice_agent.gemini.checkpoint import Gap, ModelCheckpoint
from voice_agent.gemini.endpoint import api_key, http_options
from voice_agent.gemini.session import ResumableSession
from voice_agent.settings import Settings


class ResumableModel(RealtimeModel):
    """LiveKit's Gemini model, whose sessions survive their connections.

    Args:
        restore: what the first session goes on with; later ones, of the call's other agents, begin anew.
        held: whether the first session waits for its `resume`.
        stall_s: see `ResumableSession`.
        patience_s: see `ResumableSession`.
        on_gap: see `ResumableSession`.
        options: the plugin's own.
    """

    def __init__(
        self,
        *,
        restore: ModelCheckpoint | None = None,
        held: bool = False,
        stall_s: float,
        patience_s: float,
        on_gap: Callable[[Gap], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._restore = restore
        self._held = held
        self._stall_s = stall_s
        self._patience_s = patience_s
        self._on_gap = on_gap

    def session(self, *, turn_detection_disabled: bool = False) -> ResumableSession:
        """A session; `Agent.realtime_llm_session` gives it to the agent's code."""
        restore, self._restore = self._restore, None
        held, self._held = self._held, False
        session = ResumableSession(
            self, restore=restore, held=held, stall_s=self._stall_s, patience_s=self._patience_s, on_gap=self._on_gap
        )
        self._sessions.add(session)
        return session


def realtime_model(
    settings: Settings,
    restore: ModelCheckpoint | None = None,
    *,
    held: bool = False,
    on_gap: Callable[[Gap], None] | None = None,
) -> ResumableModel:
    """The model for one call.

    Session resumption carries a conversation over Gemini's limit of about 10 minutes a connection; compression lifts
    the limit of 15 minutes an audio session.

    Args:
        settings: where Gemini is and how it speaks.
        restore: the state of a call that another pod had. If the handle in it is refused, the chat history that the
            `AgentSession` begins with is told to a new conversation.
        held: whether the session waits for its `resume`, because another pod still serves the call.
        on_gap: called after every time in which the model could not be heard.
    """
    return ResumableModel(
        restore=restore,
        held=held,
        stall_s=settings.gemini_stall_seconds,
        patience_s=settings.gemini_reconnect_seconds,
        on_gap=on_gap,
        model=settings.gemini_model or NOT_GIVEN,
        voice=settings.gemini_voice,
        vertexai=settings.use_vertexai,
        api_key=api_key(settings) or NOT_GIVEN,
        project=settings.google_cloud_project or NOT_GIVEN,
        location=settings.google_cloud_location,
        session_resumption=types.SessionResumptionConfig(),
        context_window_compression=types.ContextWindowCompressionConfig(sliding_window=types.SlidingWindow()),
        input_audio_transcription=types.AudioTranscriptionConfig(),
        output_audio_transcription=types.AudioTranscriptionConfig(),
        http_options=http_options(settings),
    )
