"""Agents, asked in their rooms whether they are there: by LiveKit, and so by another way than their tethers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from livekit import api
from livekit.api.room_service import SVC, RoomService
from livekit.protocol.room import PerformRpcRequest, PerformRpcResponse

from voice_agent.call.fence import HERE
from voice_agent.call.people import API_ERRORS
from voice_agent.tether.wire import Tethered

logger = logging.getLogger(__name__)

# An agent that lives answers in some ten milliseconds; the caller of one that does not waits for this.
ANSWER_SECONDS = 0.5
# So long an agent that has answered is not asked again.
REMEMBER_SECONDS = 2.0
AT_A_TIME = 50
"""Agents that are asked at once; the others wait for them."""


class AgentsInRooms:
    """Asks by LiveKit's RPC; an `Agents`.

    A server that has no such call (it came after livekit-server 1.9) answers for none of them.

    Args:
        client: LiveKit's API.
        clock: monotonic seconds.
    """

    def __init__(self, client: api.LiveKitAPI, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._answered: dict[Tethered, float] = {}
        self._unanswered: dict[Tethered, float] = {}

    async def answering(self, calls: Iterable[Tethered]) -> frozenset[Tethered]:
        """See `Agents.answering`."""
        calls = frozenset(calls)
        oldest = self._clock() - REMEMBER_SECONDS
        before, self._answered = self._answered, {c: at for c, at in self._answered.items() if at > oldest}
        self._unanswered = {c: at for c, at in self._unanswered.items() if at > oldest}
        asked = list(calls - self._answered.keys())
        answers = await asyncio.gather(*(self._answers(call) for call in asked))
        for call, here in zip(asked, answers, strict=True):
            self._unanswered.pop(call, None)
            if here is None:
                self._unanswered[call] = self._clock()
            if here:
                self._answered[call] = self._clock()
                if call not in before:
                    logger.warning(
                        "call %s is out of sight, but its agent answers in the room: it is not lost", call.call
                    )
        return calls & self._answered.keys()

    def unanswered(self, call: Tethered) -> bool:
        """See `Agents.unanswered`."""
        return call in self._unanswered

    async def _answers(self, call: Tethered) -> bool | None:
        """Whether the agent answers; None if it lets the time pass."""
        request = PerformRpcRequest(
            room=call.room,
            destination_identity=call.agent_identity,
            method=HERE,
            response_timeout_ms=round(ANSWER_SECONDS * 1000),
        )
        try:
            async with self._gate, asyncio.timeout(ANSWER_SECONDS):
                answer = await _perform_rpc(self._client.room, request)
        except TimeoutError:
            return None
        except API_ERRORS as error:
            late = isinstance(error, api.TwirpError) and error.code == api.TwirpErrorCode.DEADLINE_EXCEEDED
            return None if late else False
        except Exception:
            # Whatever it is, it must not keep the calls that are lost for sure from being recovered.
            logger.exception("the agent of call %s could not be asked in its room", call.call)
            return False
        return answer.payload == str(call.epoch)


async def _perform_rpc(rooms: RoomService, request: PerformRpcRequest) -> PerformRpcResponse:
    # livekit-api 1.x has the messages, and not yet the method.
    grants = api.VideoGrants(room_admin=True, room=request.room)
    answer: PerformRpcResponse = await rooms._client.request(
        SVC, "PerformRpc", request, rooms._auth_header(grants), PerformRpcResponse
    )
    return answer
