"""The least that answers: a LiveKit client of kind agent that hears questions and says ANSWER frames."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from livekit import api, rtc
from numpy.typing import NDArray

from lab import signals
from lab.callers.caller import POD_ATTRIBUTE
from lab.livekit import LiveKit
from lab.signals import Frame, Kind

RATE = 24_000
_CHUNK = RATE // 20
_QUESTIONS = (Kind.ASK, Kind.ASK_TOOL, Kind.ASK_LONG)


class Memory:
    """What a conversation remembers; agents that share one continue each other's conversation."""

    def __init__(self) -> None:
        self.questions: list[int] = []

    def turns(self, question: int) -> int:
        """How many questions are remembered, this one included."""
        if question not in self.questions:
            self.questions.append(question)
        return len(self.questions)


class TinyAgent:
    """Answers every question at once; stops when the caller barges in.

    ``leave_after`` answers it leaves the room as a crashed agent would: in the middle of a conversation. To the
    question ``deaf_to`` it says something that is no answer to it: a frame of the kind ``says``, for question 1.
    """

    def __init__(
        self,
        pod: str,
        memory: Memory | None = None,
        leave_after: int | None = None,
        deaf_to: int | None = None,
        says: Kind = Kind.GREETING,
    ) -> None:
        self.pod = pod
        self.left = asyncio.Event()
        self._memory = memory or Memory()
        self._leave_after = leave_after
        self._deaf_to = deaf_to
        self._says = says
        self._answers = 0
        self._room = rtc.Room()
        self._source = rtc.AudioSource(RATE, 1, queue_size_ms=200)
        self._speech: deque[NDArray[np.int16]] = deque()
        self._wake = asyncio.Event()
        self._caller_spoke = False
        self._tasks: list[asyncio.Task[None]] = []
        # Not among the tasks above: those it cancels.
        self._leaving: asyncio.Task[None] | None = None

    async def join(self, server: LiveKit, room: str) -> None:
        """Join the room and answer from now on."""
        token = (
            api.AccessToken(server.key, server.secret)
            .with_identity(f"agent-{self.pod}")
            .with_kind("agent")
            .with_attributes({POD_ATTRIBUTE: self.pod})
            .with_grants(api.VideoGrants(room_join=True, room=room, agent=True))
            .to_jwt()
        )
        self._room.on("track_subscribed", self._on_track)
        await self._room.connect(server.url, token)
        track = rtc.LocalAudioTrack.create_audio_track("voice", self._source)
        await self._room.local_participant.publish_track(track)
        self._tasks.append(asyncio.create_task(self._speak()))

    async def leave(self) -> None:
        """Leave the room; harmless when repeated."""
        if self.left.is_set():
            return
        self.left.set()
        await self._room.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._source.aclose()

    def _on_track(
        self, track: rtc.Track, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        if participant.kind != rtc.ParticipantKind.PARTICIPANT_KIND_AGENT:
            self._tasks.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: rtc.Track) -> None:
        stream = rtc.AudioStream(track, sample_rate=16_000, num_channels=1, frame_size_ms=50)
        decoder = signals.Decoder(16_000)
        async for event in stream:
            pcm = np.frombuffer(event.frame.data, dtype=np.int16)
            loud = signals.level(pcm) > 0.1
            # A frame is recognised a moment before its last tone fades: that one is no barge-in.
            if loud and not self._caller_spoke and self._speech:
                self._speech.clear()
                self._source.clear_queue()
            self._caller_spoke = loud
            for heard in decoder.feed(pcm):
                if heard.frame.kind in _QUESTIONS:
                    self._answer(heard.frame)

    def _answer(self, asked: Frame) -> None:
        turns = self._memory.turns(asked.question)
        seconds = 6.0 if asked.kind is Kind.ASK_LONG else 0.5
        frame = Frame(Kind.ANSWER, asked.call, asked.question, turns)
        if asked.question == self._deaf_to:
            frame = Frame(self._says, asked.call, 1)
        pcm = np.concatenate([signals.encode(frame, RATE), signals.hum(seconds, RATE)])
        pcm = np.concatenate([pcm, np.zeros(-pcm.size % _CHUNK, dtype=np.int16)])
        self._speech.extend(pcm.reshape(-1, _CHUNK))
        self._wake.set()

    async def _speak(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._speech:
                chunk = self._speech.popleft()
                await self._source.capture_frame(rtc.AudioFrame(chunk.tobytes(), RATE, 1, _CHUNK))
            await self._source.wait_for_playout()
            self._answers += 1
            if self._answers == self._leave_after:
                self._leaving = asyncio.create_task(self.leave())
                return


@asynccontextmanager
async def agents_in(server: LiveKit, room: str, *agents: TinyAgent) -> AsyncIterator[None]:
    """The agents, in the room."""
    try:
        for agent in agents:
            await agent.join(server, room)
        yield
    finally:
        for agent in agents:
            await agent.leave()
