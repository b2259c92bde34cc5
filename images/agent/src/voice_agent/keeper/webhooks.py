"""LiveKit's webhooks: what it tells of rooms as soon as it knows, for whoever has it send them here.

Nothing depends on them: what they tell is found by asking, a few seconds later. Any keeper takes them; the one that
leads acts on them.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from livekit import api
from livekit.protocol import models

from voice_agent.keeper.ports import Leadership
from voice_agent.telemetry import metrics

logger = logging.getLogger(__name__)

WEBHOOKS_PATH = "/v1/livekit"
PASSED_ON = "Voice-Agent-Passed-On"
"""Header of what another keeper has got, and has not led."""
# https://docs.livekit.io/home/server/webhooks/#events
_LEFT = {"participant_left", "participant_connection_aborted"}
_REFUSED = "refused"


class Webhooks:
    """Takes them, if LiveKit has signed them.

    Args:
        key: of LiveKit's API; the one that LiveKit's `webhook.api_key` names.
        secret: the key's.
        agent_left: told the SID of a room that an agent has left.
        leadership: whether this keeper acts.
        pass_on: gives what LiveKit has sent, and its signature, to the other keepers.
    """

    def __init__(
        self,
        key: str,
        secret: str,
        agent_left: Callable[[str], None],
        leadership: Leadership,
        pass_on: Callable[[bytes, str], Awaitable[None]],
    ) -> None:
        self._receiver = api.WebhookReceiver(api.TokenVerifier(key, secret))
        self._agent_left = agent_left
        self._leadership = leadership
        self._pass_on = pass_on

    async def take(self, request: web.Request) -> web.Response:
        """Answer LiveKit.

        Raises:
            HTTPUnauthorized: it is not LiveKit's, or was signed with another key than ours.
        """
        body, signature = await request.read(), request.headers.get("Authorization", "")
        try:
            event = self._receiver.receive(body.decode(), signature)
        except Exception as error:  # noqa: BLE001 - the library raises nothing more special
            logger.info("a webhook was refused: %s: %s", type(error).__name__, error)
            metrics.WEBHOOKS.labels(_REFUSED).inc()
            raise web.HTTPUnauthorized(text="it is not signed with the keepers' LIVEKIT_API_KEY\n") from None
        metrics.WEBHOOKS.labels(event.event).inc()
        if event.event in _LEFT and event.participant.kind == models.ParticipantInfo.Kind.AGENT:
            if self._leadership.leading:
                self._agent_left(event.room.sid)
            elif PASSED_ON not in request.headers:
                await self._pass_on(body, signature)
        return web.Response()
