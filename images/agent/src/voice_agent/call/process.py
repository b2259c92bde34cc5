"""What a job process does once, before it gets its call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from livekit.agents import Agent, JobProcess, inference
from livekit.agents.vad import VAD

from voice_agent import agents
from voice_agent.settings import Settings, VadChoice
from voice_agent.telemetry import logs, traces

_KEY = "voice_agent"


@dataclass(frozen=True)
class Prepared:
    """What is ready in this process when the call comes."""

    settings: Settings
    make_agent: Callable[[], Agent]
    vad: VAD | None
    control: str
    """Path of the pod's control socket."""


def prepare(settings: Settings, control: str, process: JobProcess) -> None:
    """livekit-agents' `setup_fnc`: everything slow, so that the caller does not wait for it."""
    logs.configure_job()
    traces.start(settings)
    process.userdata[_KEY] = Prepared(
        settings=settings,
        make_agent=agents.load(settings.agent_class),
        vad=inference.VAD(model="silero") if settings.vad is VadChoice.SILERO else None,
        control=control,
    )


def prepared(process: JobProcess) -> Prepared:
    """What `prepare` left in this process."""
    ready: Prepared = process.userdata[_KEY]
    return ready
