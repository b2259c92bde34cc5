"""Send the agent to a room; the room is made if it is not there."""

from __future__ import annotations

import argparse
import asyncio

from livekit import api


async def dispatch(room: str, agent: str) -> str:
    """Ask the LiveKit server of LIVEKIT_URL for ``agent`` in ``room``; returns the dispatch's ID.

    Raises:
        ValueError: LIVEKIT_URL, LIVEKIT_API_KEY or LIVEKIT_API_SECRET is not set.
        livekit.api.TwirpError: the server refused.
    """
    async with api.LiveKitAPI() as livekit:
        request = api.CreateAgentDispatchRequest(room=room, agent_name=agent)
        return (await livekit.agent_dispatch.create_dispatch(request)).id


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room")
    parser.add_argument("--agent", default="voice-agent", help="the chart's agent.name (default: voice-agent)")
    args = parser.parse_args()
    print(asyncio.run(dispatch(args.room, args.agent)))
