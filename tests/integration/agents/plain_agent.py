"""Agents as an operator writes them: they know LiveKit, and nothing of the image that runs them."""

from __future__ import annotations

import os

from google.genai import types
from livekit.agents import Agent
from livekit.plugins.google.realtime import RealtimeModel


class Plain(Agent):
    """Talks with the model that the settings describe."""

    def __init__(self) -> None:
        super().__init__(instructions="Be plain.")


class WithModel(Agent):
    """Brings a model of its own."""

    def __init__(self) -> None:
        super().__init__(
            instructions="Be yourself.",
            llm=RealtimeModel(
                api_key="own", vertexai=False, http_options=types.HttpOptions(base_url=os.environ["OWN_MODEL_URL"])
            ),
        )


class Bare(Agent):
    """Brings LiveKit's model, which finds its key and its endpoint by itself."""

    def __init__(self) -> None:
        super().__init__(instructions="Be yourself.", llm=RealtimeModel(vertexai=False))
