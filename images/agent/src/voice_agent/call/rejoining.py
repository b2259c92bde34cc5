"""LiveKit may lose the call's room and make it anew, as a server does that restarts: all who were in it come back.

The new room has another SID, by which keepers and stores name the call; it does not know what this agent said of
itself; and the caller's token may have brought another agent into it. So the call goes on under its new name, with
the next epoch.

An agent that cannot reach LiveKit for a while serves nobody, though its tether tells that it lives: it lets go of that,
and comes back to the call only if no other agent has it then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from livekit import rtc
from livekit.agents.utils.aio import cancel_and_wait

from voice_agent.call.fence import Fence
from voice_agent.call.live import Call

logger = logging.getLogger(__name__)

# The connection that brought the news may be lost again before it is told on.
RETRY_SECONDS = 1.0
AWAY_SECONDS = 5.0
"""Where LiveKit's client can, it comes back within some two seconds; LiveKit gives an agent up after some 20 s."""


class Rejoining:
    """Watches for a connection that is lost, and for a room that was made anew.

    Args:
        call: whose identity is changed.
        fence: told to say again that this agent has the call.
        renamed: called when the call has a new name, or is this agent's again.
        away: called when LiveKit cannot be reached.
    """

    def __init__(
        self,
        call: Call,
        fence: Fence,
        renamed: Callable[[], Awaitable[None]],
        away: Callable[[], Awaitable[None]],
    ) -> None:
        self._call = call
        self._room: rtc.Room = call.context.room
        self._fence = fence
        self._renamed = renamed
        self._away = away
        self._known_as = call.identity.room_sid
        """The room of which the keepers have been told."""
        self._changed = asyncio.Event()
        self._returned = False
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._letting_go: asyncio.Future[None] | None = None
        """Set from when the call is let go of until it is this agent's again."""

    def start(self) -> None:
        """Begin to watch."""
        self._room.on("reconnecting", self._on_loss)
        self._room.on("reconnected", self._on_return)
        # The new SID may come after the connection.
        self._room.on("room_updated", self._changed.set)
        self._task = asyncio.create_task(self._watch(), name="rejoining")

    async def aclose(self) -> None:
        """Watch no longer."""
        self._room.off("reconnecting", self._on_loss)
        self._room.off("reconnected", self._on_return)
        self._room.off("room_updated", self._changed.set)
        await cancel_and_wait(*filter(None, (self._task, self._waiting, self._letting_go)))

    def _on_loss(self) -> None:
        if self._waiting is None or self._waiting.done():
            self._waiting = asyncio.create_task(self._wait(), name="wait for LiveKit")

    async def _wait(self) -> None:
        await asyncio.sleep(AWAY_SECONDS)
        logger.warning("LiveKit cannot be reached; the call is left to the keepers, unless it can be before they act")
        if self._letting_go is None:
            self._letting_go = asyncio.ensure_future(self._away())

    def _on_return(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        self._returned = True
        self._changed.set()

    async def _watch(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._look()
            except Exception:
                # The call itself goes on.
                logger.exception("not everybody was told that the call is in another room now; once more")
                await asyncio.sleep(RETRY_SECONDS)
                self._returned = True
                self._changed.set()

    async def _look(self) -> None:
        sid = await self._room.sid
        if self._call.ending is not None:
            return  # Another agent has it: it must not look as if this one had come back to it.
        returned, self._returned = self._returned, False
        if sid != self._call.identity.room_sid:
            logger.warning("LiveKit has made the room anew; the call goes on in it", extra={"room_id": sid})
            identity = self._call.identity
            self._call.identity = identity.model_copy(update={"room_sid": sid, "epoch": identity.epoch + 1})
        elif not returned:
            return
        # Also who comes back to the same room may be a new participant there.
        await self._fence.say(self._call.identity.epoch)
        if self._letting_go is not None:
            await asyncio.wait([self._letting_go])
        if self._call.ending is None and (self._known_as != sid or self._letting_go):
            await self._renamed()
            self._known_as, self._letting_go = sid, None
