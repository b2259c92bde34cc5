"""One caller: joins its room as a client, asks its questions, listens, hangs up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from livekit import api, rtc

from lab import signals
from lab.callers import speech
from lab.callers.events import (
    AgentJoined,
    AgentLeft,
    AgentNamed,
    Asked,
    Disconnected,
    Event,
    Finished,
    Heard,
    Joined,
    Lost,
    Reconnected,
    Reconnecting,
    Stalled,
)
from lab.callers.listening import Listener
from lab.callers.microphone import LEAD_SECONDS, RATE, Microphone
from lab.callers.plan import DONE, TOLD_TO_STOP, CallPlan
from lab.callers.stalls import stalls
from lab.signals import Frame, Kind

POD_ATTRIBUTE = "voice-agent.pod"
# An agent that was silent for so long has finished its answer.
QUIET_SECONDS = 0.6
# The longest answer that a caller hears out before it goes on.
LONGEST_ANSWER_SECONDS = 30.0
# An agent that speaks and does not answer is waited for no longer than this.
PATIENCE_SECONDS = 4.0
_POLL_SECONDS = 0.1
_CLOSE_SECONDS = 10.0
# What the microphone has handed over ahead of time covers shorter stalls.
STALL_SECONDS = LEAD_SECONDS


def caller_token(plan: CallPlan) -> str:
    """The token of the plan's caller; its room configuration dispatches the agent by name."""
    token = (
        api.AccessToken(plan.api_key, plan.api_secret)
        .with_identity(f"caller-{plan.call}")
        .with_grants(api.VideoGrants(room_join=True, room=plan.room))
    )
    if plan.agent_name:
        dispatch = api.RoomAgentDispatch(agent_name=plan.agent_name)
        token = token.with_room_config(api.RoomConfiguration(agents=[dispatch]))
    return token.to_jwt()


async def _in_time(closing: Coroutine[Any, Any, None]) -> None:
    """Close something of the client library's; where that does not return, the call is over all the same."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            await closing


class Caller:
    """One call. ``emit`` is told everything noticed, in the order in which it was noticed."""

    def __init__(self, plan: CallPlan, emit: Callable[[Event], None]) -> None:
        self._plan = plan
        self._report = emit
        self._room = rtc.Room()
        self._listeners: dict[str, Listener] = {}
        self._pods: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._gone = asyncio.Event()
        self._agent_audible = asyncio.Event()
        self._answer = asyncio.Event()
        self._other_words = asyncio.Event()
        self._question = 0
        self._hanging_up = False

    def stop(self) -> None:
        """Finish the current question, then hang up."""
        self._stop.set()

    async def run(self) -> None:
        """Hold the call; the last event is Finished."""
        self._listen_to_room()
        reason = "cancelled"
        try:
            await self._room.connect(self._plan.url, caller_token(self._plan))
            self._emit(Joined(time.time()))
            for participant in self._room.remote_participants.values():
                self._on_participant(participant)
            reason = await self._until_gone(self._converse())
        except rtc.ConnectError as error:
            reason = f"cannot connect to {self._plan.url}: {error}"
        except Exception as error:
            reason = f"the caller failed: {type(error).__name__}: {error}"
            raise
        finally:
            self._hanging_up = True
            await _in_time(self._leave())
            self._emit(Finished(time.time(), reason))

    async def _leave(self) -> None:
        for listener in list(self._listeners.values()):
            await listener.close()
        await self._room.disconnect()

    async def _watch_itself(self) -> None:
        async for due, now in stalls(STALL_SECONDS):
            self._emit(Stalled(due, now))

    async def _until_gone(self, conversation: Coroutine[Any, Any, str]) -> str:
        talking = asyncio.create_task(conversation)
        gone = asyncio.create_task(self._gone.wait())
        await asyncio.wait([talking, gone], return_when=asyncio.FIRST_COMPLETED)
        if talking.done():
            gone.cancel()
            return talking.result()
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)
        return "disconnected"

    async def _converse(self) -> str:
        microphone = Microphone()
        watch = asyncio.create_task(self._watch_itself())
        try:
            track = rtc.LocalAudioTrack.create_audio_track("microphone", microphone.source)
            options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
            await self._room.local_participant.publish_track(track, options)
            try:
                await asyncio.wait_for(self._agent_audible.wait(), self._plan.agent_timeout_s)
            except TimeoutError:
                return "no agent"
            return await self._ask_all(microphone)
        finally:
            watch.cancel()
            await _in_time(microphone.close())

    async def _ask_all(self, microphone: Microphone) -> str:
        pauses = self._plan.pauses()
        lost_in_a_row = 0
        await self._pause(pauses.next())
        await self._hear_out()
        while not self._stop.is_set():
            if self._question == self._plan.questions:
                return DONE
            if self._question + 1 == self._plan.reconnect_before:
                await self._room.simulate_scenario(rtc.SimulateScenarioKind.SIMULATE_FULL_RECONNECT)
            kind = await self._ask(microphone)
            if not await self._answered():
                self._emit(Lost(time.time(), self._question))
                lost_in_a_row += 1
                if lost_in_a_row >= self._plan.give_up_after:
                    return "given up"
                await self._hear_out()
                continue
            lost_in_a_row = 0
            if kind is Kind.ASK_LONG:
                await self._pause(self._plan.barge_in_after_s)
                if not self._stop.is_set() and self._question != self._plan.questions:
                    continue
            await self._hear_out()
            await self._pause(pauses.next())
        return TOLD_TO_STOP

    async def _answered(self) -> bool:
        """Wait for the answer; an agent that says something else has not understood the question, or has lost it."""
        answer = asyncio.create_task(self._answer.wait())
        other = asyncio.create_task(self._other_words.wait())
        try:
            limit = self._plan.answer_timeout_s
            await asyncio.wait([answer, other], timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if other.done():
                await asyncio.wait([answer], timeout=PATIENCE_SECONDS)
            return answer.done()
        finally:
            answer.cancel()
            other.cancel()

    async def _ask(self, microphone: Microphone) -> Kind:
        self._question += 1
        self._answer.clear()
        kind = self._plan.kind_of(self._question)
        if self._plan.spoken:
            pcm = await asyncio.to_thread(speech.speak, self._question, RATE)
        else:
            pcm = signals.encode(Frame(kind, self._plan.call, self._question % 256), RATE)
        spoken = await microphone.say(pcm)
        self._other_words.clear()
        self._emit(Asked(spoken.start, spoken.end, self._question, int(kind)))
        if self._plan.spoken:
            self._spawn(self._await_words(self._question))
        return kind

    async def _await_words(self, question: int) -> None:
        """Take the first sound of an agent for the answer to the question, as long as it is open."""
        while self._question == question and not self._answer.is_set():
            for listener in self._listeners.values():
                if listener.sounding:
                    now = time.time()
                    answer = int(Kind.ANSWER)
                    number = question % 256
                    self._emit(Heard(now, now, listener.agent, answer, self._plan.call, number, speech.UNKNOWN_TURNS))
                    return
            await asyncio.sleep(_POLL_SECONDS)

    async def _hear_out(self) -> None:
        """Wait until the agents have been silent for a while."""
        now = time.monotonic()
        deadline, quiet_since = now + LONGEST_ANSWER_SECONDS, now
        while now < deadline and now - quiet_since < QUIET_SECONDS:
            await asyncio.sleep(_POLL_SECONDS)
            now = time.monotonic()
            if any(listener.sounding for listener in self._listeners.values()):
                quiet_since = now

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    def _emit(self, event: Event) -> None:
        self._report(event)
        if isinstance(event, Heard):
            if event.kind == Kind.ANSWER and (event.call, event.question) == (self._plan.call, self._question % 256):
                self._answer.set()
            else:
                self._other_words.set()

    def _listen_to_room(self) -> None:
        room = self._room
        room.on("participant_connected", self._on_participant)
        room.on("participant_disconnected", self._on_participant_left)
        room.on("participant_attributes_changed", lambda changed, participant: self._on_attributes(participant))
        room.on("track_subscribed", self._on_track)
        room.on("track_unsubscribed", lambda track, publication, participant: self._close_listener(track.sid))
        room.on("reconnecting", lambda: self._emit(Reconnecting(time.time())))
        room.on("reconnected", lambda: self._emit(Reconnected(time.time())))
        room.on("disconnected", self._on_disconnected)

    def _on_participant(self, participant: rtc.RemoteParticipant) -> None:
        if participant.kind == rtc.ParticipantKind.PARTICIPANT_KIND_AGENT and participant.identity not in self._pods:
            pod = participant.attributes.get(POD_ATTRIBUTE, "")
            self._pods[participant.identity] = pod
            self._emit(AgentJoined(time.time(), participant.identity, pod))

    def _on_participant_left(self, participant: rtc.RemoteParticipant) -> None:
        if self._pods.pop(participant.identity, None) is not None:
            self._emit(AgentLeft(time.time(), participant.identity))

    def _on_attributes(self, participant: rtc.Participant) -> None:
        pod = participant.attributes.get(POD_ATTRIBUTE, "")
        if pod and self._pods.get(participant.identity) not in (None, pod):
            self._pods[participant.identity] = pod
            self._emit(AgentNamed(time.time(), participant.identity, pod))

    def _on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        self._on_participant(participant)
        if isinstance(track, rtc.RemoteAudioTrack) and participant.identity in self._pods:
            self._close_listener(track.sid)
            self._listeners[track.sid] = Listener(track, participant.identity, self._emit)
            self._agent_audible.set()

    def _close_listener(self, sid: str) -> None:
        listener = self._listeners.pop(sid, None)
        if listener:
            self._spawn(listener.close())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_disconnected(self, reason: Any) -> None:
        if not self._hanging_up:
            self._emit(Disconnected(time.time(), rtc.DisconnectReason.Name(reason)))
            self._gone.set()
