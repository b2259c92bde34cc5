"""Print an access token whose holder finds the agent in the room."""

from __future__ import annotations

import argparse

from livekit import api


def token(room: str, identity: str, agent: str) -> str:
    """A token, signed with LIVEKIT_API_KEY and LIVEKIT_API_SECRET, to join ``room`` and bring ``agent`` along.

    Raises:
        ValueError: a variable is not set.
    """
    dispatch = api.RoomAgentDispatch(agent_name=agent)
    return (
        api.AccessToken()
        .with_identity(identity)
        .with_grants(api.VideoGrants(room_join=True, room=room))
        .with_room_config(api.RoomConfiguration(agents=[dispatch]))
        .to_jwt()
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("room")
    parser.add_argument("identity", help="who joins")
    parser.add_argument("--agent", default="voice-agent", help="the chart's agent.name (default: voice-agent)")
    args = parser.parse_args()
    print(token(args.room, args.identity, args.agent))
