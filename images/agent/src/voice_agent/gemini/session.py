"""LiveKit's Gemini session with a connection loop of its own: no turn is lost when a connection ends.

This is the only module that uses private names of the plugin; a test fails when a version changes them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from google.genai import types
from google.genai.live import AsyncSession
from livekit import rtc
from livekit.agents import APIConnectionError, llm, utils
from livekit.plugins.google.realtime import realtime_api as plugin
from livekit.plugins.google.realtime.api_proto import ClientEvents

from voice_agent.gemini import splice
from voice_agent.gemini.audio import CallerAudio
from voice_agent.gemini.checkpoint import Gap, ModelCheckpoint, Progress
from voice_agent.gemini.connection import Connection, connected
from voice_agent.gemini.recovery import Ending, LostHereError, Recovery
from voice_agent.gemini.trial import fails
from voice_agent.gemini.turn import Replay, Resumption, Turn
from voice_agent.telemetry import metrics

if TYPE_CHECKING:
    from voice_agent.gemini.model import ResumableModel

logger = logging.getLogger(__name__)

# The new connection has to be there before the service closes the old one, which may be early.
_MARGIN_SECONDS = 1.0
# Of a notice without a time; the service's own is about a minute.
_NOTICE_SECONDS = 5.0
_AUDIO_CHUNK_SECONDS = 0.05
_AUDIO_CHUNK_BYTES = int(plugin.INPUT_AUDIO_SAMPLE_RATE * _AUDIO_CHUNK_SECONDS) * 2
# A connection that held for so long ended for a reason of its own, not for that of the one before it.
_LASTED_SECONDS = 10.0
# A turn that brings one connection after another down is not given to more than so many.
_MOST_FAILURES = 3
_RELEASE_SECONDS = 3.0
_LOOK_SECONDS = 0.1
# For what the caller said before the cut to arrive here, where the loop may have had no processor.
_CATCH_UP_SECONDS = 1.0
# Longer than what another pod hears once more of a pause, or words that are answered would be heard again.
_QUIET_SECONDS = splice.OVERLAP_SECONDS + splice.MARGIN_SECONDS


class ResumableSession(plugin.RealtimeSession):
    """One call's session with Gemini, over any number of connections.

    It is live or held. Held it has no connection, so that another pod may use the handle, and keeps what the caller
    says. For a handover: wait for `at_boundary`, then `hold`; the checkpoint that it returns goes to the other pod,
    whose session began held and is given it by `resume`. If that pod fails, `resume` lets this session go on.
    `checkpoint` alone is for snapshots of a call that goes on.

    Args:
        model: the model that it belongs to.
        restore: the state to go on with.
        held: whether to wait for `resume`.
        stall_s: seconds without a message, while an answer is owed, that mean a stalled service.
        patience_s: seconds to go on trying to reach the service.
        on_gap: told whenever the model is back; the place to have a line spoken.
    """

    def __init__(
        self,
        model: ResumableModel,
        *,
        restore: ModelCheckpoint | None,
        held: bool,
        stall_s: float,
        patience_s: float,
        on_gap: Callable[[Gap], None] | None,
    ) -> None:
        super().__init__(model)
        self._turn = Turn(CallerAudio())
        self._recovery = Recovery(patience_s)
        self._stall_s = stall_s
        self._on_gap = on_gap
        self._number = 0  # of the connection, from 1
        self._connection: Connection | None = None
        self._live = False
        self._over = False
        self._held = held
        self._leave_at: float | None = None
        self._lost: tuple[Ending, float] | None = None
        self._changed = asyncio.Event()
        self._restored = False
        self._covered: frozenset[str] | None = None
        if restore:
            self._restore(restore, _turn_of(restore))

    def checkpoint(self) -> ModelCheckpoint:
        """The model's side of the call as it is now."""
        handle, covered = self._session_resumption_handle, tuple(self._covered or ())
        if self._resumption_chat_ctx is not None:
            covered = tuple(item.id for item in self._resumption_chat_ctx.items)
        return self._turn.save(handle, covered if handle else ())

    async def at_boundary(self, within_s: float) -> bool:
        """Wait for a moment at which neither the caller speaks nor the model, and no function runs.

        Returns:
            Whether it came within so many seconds.
        """
        due = time.monotonic() + within_s
        while not self._turn.idle():
            left = due - time.monotonic()
            if left <= 0:
                return False
            await self._change(min(left, 0.25))
        return True

    def is_at_boundary(self) -> bool:
        """Whether neither the caller speaks nor the model, and no function runs."""
        return self._turn.idle() and self._turn.audio.quiet_s >= _QUIET_SECONDS

    @property
    def over(self) -> bool:
        """Whether it has ended, or was given up."""
        return self._over

    @property
    def progress(self) -> Progress:
        """How far the turn is; changes whenever another checkpoint is worth keeping."""
        return self._turn.progress(self._session_resumption_handle)

    @property
    def asked(self) -> bool:
        """Whether it has been said or asked something that waits for an answer."""
        return self._turn.asked

    @property
    def playing(self) -> tuple[llm.ChatMessage, ...]:
        """What caller and model said for an answer that has come whole and is being played.

        The handle does not stand for it yet. It comes to the chat history, under these IDs, when it was played.
        """
        generation = self._current_generation
        if generation is None or self._turn.played:
            return ()
        asked = llm.ChatMessage(
            id=generation.input_id,
            role="user",
            content=[generation.input_transcription],
            created_at=generation._created_timestamp,
        )
        answered = llm.ChatMessage(id=generation.response_id, role="assistant", content=[generation.output_text])
        return tuple(message for message in (asked, answered) if message.text_content)

    async def change(self) -> None:
        """Wait until `progress` may have changed."""
        await self._changed.wait()

    @property
    def heard_s(self) -> float:
        """Seconds of the caller's audio that have come; until a state is restored, of the session's whole life."""
        return self._turn.audio.seconds

    async def hears(self, seconds: float) -> None:
        """Wait until so many seconds of the caller's audio have come."""
        while self.heard_s < seconds:  # noqa: ASYNC110 - an event for each 50 ms would cost more
            await asyncio.sleep(_AUDIO_CHUNK_SECONDS)

    async def hold(self) -> ModelCheckpoint:
        """Close the connection, so that another pod may use the handle; what the caller says from now on is kept.

        Nothing is reported to the `AgentSession`; what has come of an answer is still played.
        """
        self._held = True
        self._session_should_close.set()
        self._wake()
        if self._main_atask:
            _, late = await asyncio.wait([self._main_atask], timeout=_RELEASE_SECONDS)
            if late:
                logger.warning("Gemini's connection was not closed within %.0f s", _RELEASE_SECONDS)
            await utils.aio.cancel_and_wait(self._main_atask)
        self._keep_last_samples()
        saved = self.checkpoint()
        self._finish_generation()
        return saved

    async def resume(self, state: ModelCheckpoint | None = None, *, cut: float | None = None) -> None:
        """Go on after `hold`, or for the first time after a beginning that was held; returns when connected.

        Args:
            state: the checkpoint of the other pod's session; None to go on with this one's own.
            cut: `time.monotonic()` of the last of the caller's audio in `state`, roughly; what came here later is
                added.
        """
        if state is not None:
            turn = _turn_of(state)
            heard = b""
            if cut is not None:
                quiet_s = 0.0 if turn.audio.pending else state.quiet_s
                heard = await self._heard_since(state.pending_audio, cut, quiet_s)
            self._restore(state, turn)
            for at in range(0, len(heard), _AUDIO_CHUNK_BYTES):
                self._turn.audio.push(heard[at : at + _AUDIO_CHUNK_BYTES])
        self._held = False
        self._main_atask = asyncio.create_task(self._main_task(), name="gemini-realtime-session")
        while not (self._live or self._closing):
            await self._change(0.25)

    @property
    def _closing(self) -> bool:
        return self._over or self._held

    async def _heard_since(self, first: bytes, cut: float, quiet_s: float) -> bytes:
        """What this pod has heard since another's recording ended; see `splice.rest`."""
        due = time.monotonic() + _CATCH_UP_SECONDS
        while True:
            rest = splice.rest(first, self._turn.audio, cut, quiet_s=quiet_s)
            if rest.certain or time.monotonic() >= due:
                return rest.audio
            await asyncio.sleep(_AUDIO_CHUNK_SECONDS)

    def _restore(self, state: ModelCheckpoint, turn: Turn) -> None:
        self._restored = True
        self._turn = turn
        self._session_resumption_handle = state.handle
        self._covered = frozenset(state.covered_items) if state.handle else None

    def push_audio(self, frame: rtc.AudioFrame) -> None:
        """Take the caller's audio; while there is no connection it is kept for the next."""
        if self._over:
            return
        for resampled in self._resample_audio(frame):
            for chunk in self._bstream.write(resampled.data.tobytes()):
                pcm = chunk.data.tobytes()
                if self._turn.hear(pcm):
                    self._wake()
                self._send_audio(pcm)

    def _keep_last_samples(self) -> None:
        """Keep what fills no chunk yet: the other pod's audio begins where this ends."""
        rest = self._input_resampler.flush() if self._input_resampler else []
        for chunk in [
            *(c for frame in rest for c in self._bstream.write(frame.data.tobytes())),
            *self._bstream.flush(),
        ]:
            self._turn.hear(chunk.data.tobytes())

    async def aclose(self) -> None:
        """End the session."""
        self._over = True
        await super().aclose()

    def _send_audio(self, pcm: bytes) -> None:
        blob = types.Blob(data=pcm, mime_type=f"audio/pcm;rate={plugin.INPUT_AUDIO_SAMPLE_RATE}")
        if self._live:
            super()._send_client_event(types.LiveClientRealtimeInput(audio=blob))

    def _send_client_event(self, event: ClientEvents) -> None:
        if isinstance(event, types.LiveClientToolResponse):
            mine = self._turn.respond(event.function_responses or [], self._number if self._live else -1)
            if self._live and (content := self._turn.results(self._number)):
                self._count(Replay.TOOL)
                super()._send_client_event(content)
            if not mine:
                # Told as text, or answered long ago: nothing of it waits to be sent.
                self._unsent_item_ids -= getattr(event, "item_ids", set())
                return
            event.function_responses = mine
        elif isinstance(event, types.LiveClientContent) and event.turn_complete:
            self._turn.ask(event)
        if self._live and not self._closing:
            super()._send_client_event(event)

    def _handle_go_away(self, go_away: types.LiveServerGoAway) -> None:
        left = _seconds(go_away.time_left)
        self._leave_at = time.monotonic() + left - min(_MARGIN_SECONDS, left / 2)
        logger.info("Gemini ends the connection in %.1f s", left)

    def _mark_current_generation_done(self) -> None:
        # An answer whose connection broke goes on with the next one; the plugin would end it.
        if self._closing or (self._connection and self._connection.handling):
            super()._mark_current_generation_done()

    def _finish_generation(self) -> None:
        super()._mark_current_generation_done()

    async def _main_task(self) -> None:
        while not self._closing:
            self._session_should_close.clear()
            handle = self._session_resumption_handle
            ending = await self._serve_once()
            if self._closing:
                return
            if self._turn.generated:
                # All of the answer has come. Should no connection follow, the conversation would lack it.
                self._finish_generation()
            self._lost = self._lost or (ending, time.monotonic())
            step = self._recovery.after(ending, with_handle=handle is not None)
            if step.give_up:
                await self._end_call(ending)
                return
            if not ending.planned:
                self._turn.failures += not ending.at_setup
                logger.warning(
                    "Gemini's connection ended (%s), the next follows in %.1f s%s: %s",
                    ending.reason,
                    step.delay_s,
                    " with a new conversation" if step.drop_handle else "",
                    ending.words or "no message came",
                    exc_info=ending.error if ending.reason == "broken" else None,
                )
                if ending.error:
                    self._emit_error(ending.error, recoverable=True)
            if step.drop_handle:
                self._session_resumption_handle = self._resumption_chat_ctx = self._covered = None
            if step.delay_s:
                with suppress(TimeoutError):
                    async with asyncio.timeout(step.delay_s):
                        await self._session_should_close.wait()

    async def _end_call(self, ending: Ending) -> None:
        looking = asyncio.create_task(self._why_lost(ending))
        try:
            # Another pod that takes the call does not wait for it.
            while not looking.done() and not self._closing:
                await asyncio.wait([looking], timeout=_LOOK_SECONDS)
            if self._closing:
                return
            why = looking.result()
        finally:
            await utils.aio.cancel_and_wait(looking)
        metrics.count(metrics.MODEL_LOST, why)
        words = ending.words or "it said nothing while it owed an answer"
        logger.error(
            "Gemini is lost after %d attempts (%s); GEMINI_RECONNECT_SECONDS says for how long to try: %s",
            self._recovery.failures,
            why,
            words,
        )
        self._over = True
        self._finish_generation()
        kind = APIConnectionError if why == metrics.FAILED else LostHereError
        self._emit_error(kind(f"Gemini is lost: {words}"), recoverable=False)

    async def _why_lost(self, ending: Ending) -> str:
        if not ending.at_setup:
            return metrics.FAILED
        if not ending.refused:
            return metrics.UNREACHABLE
        # A conversation that is refused is refused in every pod, and must not go from one to the next.
        tried = await fails(self._client, self._opts.model, str(self._opts.voice))
        if tried is None:
            return metrics.FAILED
        return metrics.REFUSED if tried.refused else metrics.UNREACHABLE

    async def _serve_once(self) -> Ending:
        """Connect, and serve the call until the connection ends."""
        at_setup = True
        asked_at = time.perf_counter()
        try:
            # Of tools that Gemini's schemas cannot tell of the plugin says so here.
            config = self._build_connect_config()
            async with connected(self._client, self._opts.model, config, self._observe) as connection:
                self._report_connection_acquired(time.perf_counter() - asked_at)
                if self._closing:
                    return Ending("released", planned=True)
                at_setup = False
                began = time.monotonic()
                self._recovery.connected()
                ending = await self._serve(connection)
                if ending.reason != "stall" and time.monotonic() - began > _LASTED_SECONDS:
                    self._recovery.progress()
                return ending
        except Exception as error:  # noqa: BLE001 - whatever ended it, the call goes on
            return Ending.of(error, at_setup=at_setup)

    async def _serve(self, connection: Connection) -> Ending:
        session = cast(AsyncSession, connection)
        async with self._session_lock:
            self._active_session = session
        self._begin(connection)
        send = asyncio.create_task(self._send_task(session))
        receive = asyncio.create_task(self._recv_task(session))
        restart = asyncio.create_task(self._session_should_close.wait())
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([send, receive, restart, watch], return_when=asyncio.FIRST_COMPLETED)
            if watch.done():
                return watch.result()
            if error := self._session_error:
                return Ending.of(error)
            return Ending("options", planned=True)
        finally:
            self._live = False
            self._connection = None
            await utils.aio.cancel_and_wait(send, receive, restart, watch)
            self._session_error = None
            async with self._session_lock:
                self._active_session = None

    def _begin(self, connection: Connection) -> None:
        """Give the connection all that it must know and all that waits for an answer, then the live audio."""
        self._number += 1
        self._connection = connection
        self._leave_at = None
        self._msg_ch = utils.aio.Chan[ClientEvents]()
        self._live = not self._closing
        self._wake()
        given_up = self._turn.failures >= _MOST_FAILURES and self._turn.unanswered
        if given_up:
            metrics.count("gemini_turns_lost")
            logger.error("a turn is lost: %d connections to Gemini ended or stalled over it", self._turn.failures)
            self._turn.give_up()
        resumption = self._resume_generation()
        if resumption.how and (self._lost or self._restored):
            self._count(resumption.how)
        self._restored = False
        self._restore_chat()
        if resumption.content:
            super()._send_client_event(resumption.content)
        pcm = self._turn.audio.pcm
        for at in range(0, len(pcm), _AUDIO_CHUNK_BYTES):
            self._send_audio(pcm[at : at + _AUDIO_CHUNK_BYTES])
        self._report(given_up=given_up)

    def _resume_generation(self) -> Resumption:
        """Decide how the turn goes on, and end or clear the plugin's generation, which writes the chat history."""
        words = self._turn.said_words
        resumption = self._turn.resume(self._number)
        if not self._turn.unanswered:
            self._finish_generation()
        generation = self._current_generation
        if generation and not generation._done and resumption.how is not Replay.CONTINUE:
            # It all comes again.
            generation.input_transcription = ""
            generation.output_text = generation.output_text.removesuffix(words)
        return resumption

    def _report(self, *, given_up: bool) -> None:
        lost, self._lost = self._lost, None
        if not lost:
            return
        ending, since = lost
        gap = Gap(ending.reason, time.monotonic() - since, given_up)
        metrics.count("gemini_reconnects", ending.reason)
        logger.info("Gemini is back after %.2f s (%s)", gap.seconds, gap.reason)
        if self._on_gap:
            self._on_gap(gap)

    def _restore_chat(self) -> None:
        """Tell the model the chat items that it does not know: all of them, without a handle."""
        chat, self._pending_chat_ctx = self._pending_chat_ctx or self._chat_ctx, None
        if self._session_resumption_handle is None:
            limit = self._recovery.history_limit
            told = chat.items if limit is None else chat.items[len(chat.items) - limit :] if limit else []
            self._unsent_item_ids.clear()
            self._sync_chat_ctx(llm.ChatContext(list(told)), known=llm.ChatContext.empty())
        else:
            known = self._resumption_chat_ctx
            if known is None and self._covered is not None:
                known = llm.ChatContext([item for item in chat.items if item.id in self._covered])
            if known is not None:
                self._sync_chat_ctx(chat, known=known)
        self._chat_ctx = chat

    def _observe(self, message: types.LiveServerMessage) -> None:
        if self._turn.take(message, self._number):
            self._recovery.progress()
        if message.session_resumption_update and not self._turn.takes_handle():
            message.session_resumption_update = None
        self._wake()

    async def _watch(self) -> Ending:
        """Wait until the connection must be left."""
        while True:
            now = time.monotonic()
            if self._leave_at is not None and (now >= self._leave_at or self._turn.idle()):
                return Ending("goaway", planned=True)
            stalled_at = self._turn.stalled_at(self._stall_s)
            if stalled_at is not None and now >= stalled_at:
                return Ending("stall")
            await self._change(0.1 if self._leave_at is not None else 1.0)

    def _count(self, how: Replay) -> None:
        metrics.count("gemini_turns_replayed", how)
        logger.info("a turn is given to another connection: %s", how)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _change(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()


def _turn_of(state: ModelCheckpoint) -> Turn:
    turn = Turn(CallerAudio())
    turn.load(state, _AUDIO_CHUNK_BYTES)
    return turn


def _seconds(duration: str | None) -> float:
    """The seconds of a protobuf duration, such as `9.5s`."""
    try:
        return max(float((duration or "").removesuffix("s")), 0.0)
    except ValueError:
        return _NOTICE_SECONDS
