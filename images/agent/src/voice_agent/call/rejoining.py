"""LiveKit may lose the call's room and make it anew, as a server does that restarts: all who were in it come back.

The new room has another SID, by which keepers and stores name the call; it does not know what this agent said of
itself; and the caller's token may have brought another agent into it. So the call goes on under its new name, with
the next epoch.

An agent that cannot reach LiveKit for a while serves nobody, though its tether tells that it lives: it lets go of that,
and comes back to the call only if no other agent has it then. If nothing comes from LiveKit while the connection to it
seems to be there, its pod may be cut off, and others not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from livekit import rtc
from livekit.agents.utils.aio import cancel_and_wait

from voice_agent.call.fence import Fence
from voice_agent.call.live import Call
from voice_agent.call.reception import Reception

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
        reception: of the call's room.
        renamed: called when the call has a new name, or is this agent's again.
        away: called when LiveKit cannot be reached.
        cut_off: called instead where the connection was not closed, and nothing comes.
    """

    def __init__(
        self,
        call: Call,
        fence: Fence,
        reception: Reception,
        renamed: Callable[[], Awaitable[None]],
        away: Callable[[], Awaitable[None]],
        cut_off: Callable[[], Awaitable[None]],
    ) -> None:
        self._call = call
        self._room: rtc.Room = call.context.room
        self._fence = fence
        self._renamed = renamed
        self._away = away
        self._cut_off = cut_off
        self._reception = reception
        self._known_as = call.identity.room_sid
        """The room of which the keepers have been told."""
        self._changed = asyncio.Event()
        self._returned = False
        """The client has made a connection anew."""
        self._heard = False
        """Something comes again, by the connection that there was."""
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting: asyncio.Task[None] | None = None
        self._letting_go: asyncio.Future[None] | None = None
        """Set from when the call is let go of until it is this agent's again."""

    def start(self) -> None:
        """Begin to watch."""
        self._room.on("reconnecting", self._on_loss)
        self._room.on("reconnected", self._on_return)
        # The new SID may come after the connection.
        self._room.on("room_updated", self._changed.set)
        self._tasks = [
            asyncio.create_task(self._watch(), name="rejoining"),
            asyncio.create_task(self._listen(), name="listen to LiveKit"),
        ]

    async def aclose(self) -> None:
        """Watch no longer."""
        self._room.off("reconnecting", self._on_loss)
        self._room.off("reconnected", self._on_return)
        self._room.off("room_updated", self._changed.set)
        await cancel_and_wait(*filter(None, (*self._tasks, self._waiting, self._letting_go)))

    def _on_loss(self) -> None:
        if not self._waits:
            self._waiting = asyncio.create_task(self._wait(), name="wait for LiveKit")

    async def _wait(self) -> None:
        await asyncio.sleep(AWAY_SECONDS)
        self._let_go(self._away, "LiveKit cannot be reached")

    async def _listen(self) -> None:
        lost = False
        while True:
            try:
                if not lost:
                    await self._reception.lost()
                    if self._waits:  # the client has noticed: it is given its own time
                        continue
                    self._let_go(self._cut_off, "nothing comes from LiveKit")
                    lost = True
                await self._reception.back()
                lost = False
                self._heard = True
                self._changed.set()
            except Exception:
                logger.exception("whether anything comes from LiveKit is not known")
                await asyncio.sleep(RETRY_SECONDS)

    @property
    def _waits(self) -> bool:
        return self._waiting is not None and not self._waiting.done()

    def _let_go(self, leave: Callable[[], Awaitable[None]], why: str) -> None:
        if self._letting_go is None:
            logger.warning("%s; the call is left to the keepers, unless that changes before they act", why)
            self._letting_go = asyncio.ensure_future(leave())

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
                logger.exception("not everybody was told where the call is now; once more")
                await asyncio.sleep(RETRY_SECONDS)
                self._returned = True
                self._changed.set()

    async def _look(self) -> None:
        sid = await self._room.sid
        if self._call.ending is not None:
            return  # Another agent has it: it must not look as if this one had come back to it.
        returned, self._returned = self._returned, False
        heard, self._heard = self._heard, False
        anew = sid != self._call.identity.room_sid
        if anew:
            logger.warning("LiveKit has made the room anew; the call goes on in it", extra={"room_id": sid})
            identity = self._call.identity
            self._call.identity = identity.model_copy(update={"room_sid": sid, "epoch": identity.epoch + 1})
        elif not (returned or heard):
            return
        # Also who comes back to the same room may be a new participant there.
        if anew or returned:
            await self._fence.say(self._call.identity.epoch)
        if self._letting_go is not None:
            await asyncio.wait([self._letting_go])
        if self._call.ending is None and (self._known_as != sid or self._letting_go):
            await self._renamed()
            self._known_as, self._letting_go = sid, None
