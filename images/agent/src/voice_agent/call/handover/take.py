"""The successor's side: get ready while the other agent serves, then go on where it stops."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import rtc
from livekit.agents.utils.aio import cancel_and_wait
from pydantic import ValidationError

from voice_agent.call.errand import Errand
from voice_agent.call.handover import calm
from voice_agent.call.handover.wire import (
    ALIVE,
    MEET,
    STATE_TOPIC,
    TAKE,
    TAKEN,
    Condition,
    Greeting,
    Introduction,
    State,
    departure,
    is_agent,
)
from voice_agent.call.snapshot import Snapshot, SnapshotError, decode

logger = logging.getLogger(__name__)

ANSWER_WITHIN_SECONDS = 10.0
# The predecessor answers `take` at a turn boundary: as late as the end of a long answer, or of its deadline.
TAKE_WITHIN_SECONDS = 600.0
STATE_WITHIN_SECONDS = 10.0
# The predecessor removes us from the room long before.
KEPT_AFTER_SECONDS = 30.0


class TakeError(Exception):
    """The call could not be taken over; the predecessor has it, or it is over."""


class GoneError(TakeError):
    """The predecessor is not in the room any more, as far as this job's connection tells."""


class _RefusedError(TakeError):
    """The predecessor does not give it."""


class Taking:
    """A takeover that has been asked of this job."""

    def __init__(self, room: rtc.Room, errand: Errand) -> None:
        self._room = room
        self._errand = errand
        self._states: asyncio.Queue[State] = asyncio.Queue()
        self._readers: set[asyncio.Task[None]] = set()
        self._processor = calm.Watch()

    async def meet(self) -> Introduction:
        """Make ourselves known to the agent that serves the call.

        Raises:
            GoneError: it is gone.
            TakeError: it does not know of this takeover.
        """
        if not await is_agent(self._room, self._errand.predecessor):
            raise GoneError("the agent that called for a successor is gone")
        self._room.local_participant.register_rpc_method(ALIVE, self._alive)
        answer = await self._ask(MEET, Greeting(nonce=self._errand.nonce), ANSWER_WITHIN_SECONDS)
        return Introduction.model_validate_json(answer)

    async def take(self) -> tuple[Snapshot, float]:
        """Wait for the turn boundary; the snapshot, and the moment of the cut on this process's `time.monotonic()`.

        Raises:
            GoneError: the predecessor left.
            TakeError: it kept the call, or what it sent is of no use.
        """
        async with self._receiving(), self._processor.looking():
            await self._ask(TAKE, Greeting(nonce=self._errand.nonce), TAKE_WITHIN_SECONDS)
            try:
                async with asyncio.timeout(STATE_WITHIN_SECONDS):
                    state = await self._states.get()
            except TimeoutError:
                raise TakeError("the state did not come") from None
        received = time.monotonic()
        try:
            return decode(state.snapshot), received - state.silent_for
        except SnapshotError as error:
            raise TakeError(f"the snapshot cannot be used: {error}") from error

    async def taken(self) -> None:
        """Tell the predecessor that it may leave.

        Raises:
            TakeError: it did not hear that, and has not left: it goes on with the call.
        """
        try:
            await self._ask(TAKEN, Greeting(nonce=self._errand.nonce), ANSWER_WITHIN_SECONDS)
        except _RefusedError:
            raise
        except TakeError:
            # It may have heard, and left before its answer was out; its time may have been up. The call is ours then.
            try:
                async with asyncio.timeout(KEPT_AFTER_SECONDS):
                    await departure(self._room, self._errand.predecessor)
            except TimeoutError:
                raise TakeError("the agent before keeps the call") from None
            if not self._room.isconnected():
                raise TakeError("the agent before has removed this one") from None

    async def _alive(self, request: rtc.RpcInvocationData) -> str:
        if request.caller_identity != self._errand.predecessor:
            raise rtc.RpcError(rtc.RpcError.ErrorCode.APPLICATION_ERROR, "not the predecessor")
        return Condition(starved=self._processor.starved).model_dump_json()

    async def _ask(self, method: str, request: Greeting, seconds: float) -> str:
        asking = asyncio.ensure_future(
            self._room.local_participant.perform_rpc(
                destination_identity=self._errand.predecessor,
                method=method,
                payload=request.model_dump_json(),
                response_timeout=seconds,
            )
        )
        # LiveKit's client (1.1.21) goes on waiting for the answer of one who has left.
        left = asyncio.ensure_future(departure(self._room, self._errand.predecessor))
        try:
            await asyncio.wait({asking, left}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise GoneError(f"{method}: the agent before has left")
            return asking.result()
        except rtc.RpcError as error:
            refused = error.code == rtc.RpcError.ErrorCode.APPLICATION_ERROR
            raise (_RefusedError if refused else TakeError)(f"{method}: {error.message}") from error
        finally:
            await cancel_and_wait(asking, left)

    @asynccontextmanager
    async def _receiving(self) -> AsyncIterator[None]:
        def arrive(reader: rtc.ByteStreamReader, sender: str) -> None:
            if sender != self._errand.predecessor or reader.info.name != self._errand.nonce:
                reader.close()
                return
            task = asyncio.create_task(self._read(reader))
            self._readers.add(task)
            task.add_done_callback(self._readers.discard)

        self._room.register_byte_stream_handler(STATE_TOPIC, arrive)
        try:
            yield
        finally:
            self._room.unregister_byte_stream_handler(STATE_TOPIC)

    async def _read(self, reader: rtc.ByteStreamReader) -> None:
        data = bytearray()
        async for chunk in reader:
            data += chunk
        try:
            self._states.put_nowait(State.model_validate_json(bytes(data)))
        except ValidationError:
            logger.exception("the predecessor's state is broken")
