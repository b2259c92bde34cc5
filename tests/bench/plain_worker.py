"""An ordinary livekit-agents worker with Gemini, as LiveKit's documentation has it; nothing of ours is in it.

Source: docs.livekit.io/agents/integrations/realtime/gemini and its Voice AI quickstart. Different are only the
endpoint, which is the simulator's, and what two workers on one machine need: a port for each, and a load that is not
that of the whole machine.

Environment: AGENT_NAME; GEMINI_BASE_URL; PLAIN_AS: `ours` for the choices of our image that are not its own work (turn
detection is left to Gemini, its models are not loaded, one process is kept warm), `default` for livekit-agents' (its
own voice activity detection runs besides, its models are loaded, a process for each core is kept warm); what
livekit-agents and its Google plugin read themselves.
"""

from __future__ import annotations

import os

from google.genai import types
from livekit.agents import NOT_GIVEN, Agent, AgentServer, AgentSession, JobContext, cli
from livekit.plugins import google

AS_OURS = os.environ["PLAIN_AS"] == "ours"

server = AgentServer(host="127.0.0.1", port=0, load_fnc=lambda: 0.0)
if AS_OURS:
    # Read by the forkserver, which inherits it: larger processes also cost livekit-agents' memory monitor more.
    os.environ["LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"] = "0"
    server.update_options(num_idle_processes=1)


@server.rtc_session(agent_name=os.environ["AGENT_NAME"])
async def answer(context: JobContext) -> None:
    """Hold the call of this job."""
    session = AgentSession[None](
        llm=google.realtime.RealtimeModel(
            voice="Puck", http_options=types.HttpOptions(base_url=os.environ["GEMINI_BASE_URL"])
        ),
        vad=None if AS_OURS else NOT_GIVEN,
    )
    await session.start(Agent(instructions="You are a helpful voice assistant."), room=context.room)
    session.generate_reply(instructions="Greet the caller and ask how you can help.")


if __name__ == "__main__":
    cli.run_app(server)
