"""The Live API's types, ready to be used.

google-genai leaves the building of a type's schema to its first use, which would be while a caller waits.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from google.genai import types
from pydantic import BaseModel

# What a session sends and receives; all else is a part of one of them.
_MESSAGES: tuple[type[BaseModel], ...] = (
    types.LiveConnectParameters,
    types.LiveClientMessage,
    types.LiveSendRealtimeInputParameters,
    types.LiveServerMessage,
    types.Tool,
)


def build() -> None:
    """Build the schemas of all that a session says and hears."""
    built: set[type[BaseModel]] = set()
    waiting = [*_MESSAGES]
    while waiting:
        model = waiting.pop()
        if model in built:
            continue
        built.add(model)
        model.model_rebuild()
        for field in model.model_fields.values():
            waiting.extend(_models(field.annotation))


def _models(annotation: Any) -> Iterable[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
