"""The blueprint's worker: a plain livekit-agents program, as LiveKit's guides show one.

Nothing of this project is in it but the agent, which both sides of the comparison have in common, and the attribute
by which callers know the pod that serves them. It runs in the agent image, for its libraries, and reads the variables
that the chart gives any worker. Without VAD and IDLE_PROCESSES it has livekit-agents' defaults: voice activity
detection of its own besides Gemini's, and a warm process for each core.
"""

from __future__ import annotations

import os

from google.genai import types
from livekit.agents import NOT_GIVEN, AgentServer, AgentSession, JobContext, JobRequest, cli
from livekit.plugins.google.realtime import RealtimeModel

from voice_agent.assistant import Assistant

POD_ATTRIBUTE = "voice-agent.pod"


def load(server: AgentServer) -> float:
    """The share of `CALL_SLOTS` that is taken.

    The default, the CPU's use, would have a small machine that callers and simulator keep busy refuse calls.
    """
    return len(server.active_jobs) / int(os.environ["CALL_SLOTS"])


server = AgentServer(
    load_fnc=load,
    port=int(os.environ.get("HEALTH_PORT", "8081")),
    # On a starved machine the default of 10 s would have it kill and start processes in a loop.
    initialize_process_timeout=60,
)
if "IDLE_PROCESSES" in os.environ:
    server.update_options(num_idle_processes=int(os.environ["IDLE_PROCESSES"]))


async def accept(request: JobRequest) -> None:
    """Take the call, and say which pod did."""
    await request.accept(attributes={POD_ATTRIBUTE: os.environ["POD_NAME"]})


@server.rtc_session(agent_name=os.environ["AGENT_NAME"], on_request=accept)
async def entrypoint(context: JobContext) -> None:
    """Hold the call of this job."""
    session = AgentSession[None](
        llm=RealtimeModel(http_options=types.HttpOptions(base_url=os.environ.get("GEMINI_BASE_URL"))),
        vad=None if os.environ.get("VAD") == "none" else NOT_GIVEN,
    )
    await session.start(agent=Assistant(), room=context.room)


if __name__ == "__main__":
    cli.run_app(server)
