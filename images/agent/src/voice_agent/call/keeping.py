"""The call as the keepers know it: tethered to them, with a snapshot of every moment worth going on from."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from livekit import rtc
from livekit.agents.utils.aio import cancel_and_wait
from pydantic import JsonValue

from voice_agent.call.live import Call
from voice_agent.gemini import ModelCheckpoint
from voice_agent.settings import Settings
from voice_agent.state.seal import Seal
from voice_agent.tether.client import Credential, Tether, credential
from voice_agent.tether.wire import CUT_OFF, LEAVING, RESTORING, Ending, Tethered

logger = logging.getLogger(__name__)

# An agent with a model of its own tells of less.
_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
# livekit-agents 1.8.9, ipc/job_proc_lazy_main.py.
_ENDED_FROM_OUTSIDE = {"parent process shutdown", "room disconnected", "job crashed"}
# Who has done so wanted the call to end, or another to go on with it.
_ENDED_ON_PURPOSE = {rtc.DisconnectReason.PARTICIPANT_REMOVED, rtc.DisconnectReason.ROOM_DELETED}
_EVENTS = ("conversation_item_added", "function_tools_executed", "user_state_changed", "agent_state_changed")


def credential_of(settings: Settings) -> Credential:
    """What shows the keepers that a call is the fleet's."""
    return credential(settings.keeper_token_file, settings.keeper_secret)


def seal_of(settings: Settings) -> Seal | None:
    """What encrypts snapshots; None without keys.

    Raises:
        SealError: a key is malformed.
    """
    if settings.state_keys is None:
        return None
    return Seal([key.strip() for key in settings.state_keys.get_secret_value().split(",")])


class Keeping:
    """Keeps one call's tether and snapshots for as long as this process has the call."""

    def __init__(self, call: Call, settings: Settings) -> None:
        self._call = call
        self._settings = settings
        self._seal = seal_of(settings)
        self._tether: Tether | None = None
        self._changed = asyncio.Event()
        self._mark: object = None
        self._state: dict[str, JsonValue] = {}
        self._task: asyncio.Task[None] | None = None
        self._sequence = 0
        self._disconnected: object = None
        self._broke = False
        self._call.context.room.on("disconnected", self._on_disconnected)

    async def tether(self) -> None:
        """Tell the keepers that this process has the call; does nothing without keepers."""
        if self._settings.keeper_url is None:
            return
        job = self._call.context.job
        identity = self._call.identity
        tethered = Tethered(
            room=identity.room,
            room_sid=identity.room_sid,
            caller=identity.caller,
            epoch=identity.epoch,
            job_id=job.id,
            dispatch_id=job.dispatch_id,
            pod=self._settings.pod_name,
            node=self._settings.node_name or "",
            agent_identity=self._call.context.room.local_participant.identity,
            agent_name=job.agent_name,
        )
        self._tether = Tether(
            tethered,
            self._settings.keeper_url,
            credential_of(self._settings),
            self._call.give_up_to,
            sequence=self._sequence,
        )
        await self._tether.__aenter__()

    @asynccontextmanager
    async def restoring(self) -> AsyncIterator[None]:
        """Tell the keepers that this process restores the call: of what it cannot restore, it dies, breaks or hangs."""
        if self._tether is not None:
            await self._tether.tell_state({"agent": RESTORING, RESTORING: self._call.identity.epoch})
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            self._broke = True
            raise
        if self._tether is not None:
            self._tether.put_state({})

    def _leave_alive(self, tether: Tether) -> None:
        if not self._broke:
            tether.put_state({LEAVING: True})

    def keep(self) -> None:
        """Begin to keep snapshots: the conversation is in place."""
        if self._tether is None:
            return
        for event in _EVENTS:
            self._call.session.on(event, self._note)  # type: ignore[arg-type]
        self._task = asyncio.create_task(self._keep(self._tether), name="keep the call")

    async def aclose(self, reason: str) -> None:
        """Say goodbye, unless the caller is left without an agent: then the keepers find another.

        Args:
            reason: for the job's end, as livekit-agents gives it.
        """
        if self._tether is None:
            return
        await self._stop()
        # At the drain's deadline, and when LiveKit or the network ends the job, the session closes as if the agent had
        # wished it.
        on_purpose = self._disconnected in _ENDED_ON_PURPOSE
        taken_away = reason in _ENDED_FROM_OUTSIDE and not on_purpose and self._call.ending is Ending.FINISHED
        if self._call.ending is not None and not taken_away:
            self._tether.goodbye(self._call.ending)
        else:
            self._leave_alive(self._tether)
        await self._tether.__aexit__(None, None, None)

    async def renew(self) -> None:
        """Begin anew: the call has another name now, and what is kept under the old one is of no use.

        Also after `abandon`, if the call is this process' all the same.
        """
        if self._tether is not None:
            await self._stop()
            self._tether.goodbye(Ending.FINISHED)
            await self._tether.__aexit__(None, None, None)
        self._mark, self._state = None, {}
        await self.tether()
        self.keep()

    async def abandon(self, *, cut_off: bool = False) -> None:
        """Leave a caller who is still there to the keepers, who go on from the last snapshot.

        To be called before the session closes: what it says of the conversation then is not how the call was.

        Args:
            cut_off: whether that is because nothing comes from LiveKit.
        """
        if self._tether is None or self._call.ending is not None:
            return
        tether, self._tether = self._tether, None
        self._sequence = tether.sequence
        await self._stop()
        if cut_off and not self._broke:
            # Without it the keepers would take the process for dead, and ask nobody.
            await tether.tell_state({LEAVING: True, CUT_OFF: self._call.identity.epoch})
        else:
            self._leave_alive(tether)
        await tether.__aexit__(None, None, None)

    async def _stop(self) -> None:
        if self._task is None:
            return
        await cancel_and_wait(self._task)
        for event in _EVENTS:
            self._call.session.off(event, self._note)  # type: ignore[arg-type]

    def _on_disconnected(self, reason: object) -> None:
        self._disconnected = reason

    def _note(self, _: object) -> None:
        self._changed.set()

    async def _keep(self, tether: Tether) -> None:
        while True:
            try:
                self._tell(tether)
            except Exception:
                # The call does not depend on it; the snapshot before this one stays.
                logger.exception("no snapshot was taken")
            await self._change()

    async def _change(self) -> None:
        """Wait until the session or the model tells of something; not for the next of many that come at once."""
        model = self._call.model
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._changed.wait())]
        if model is not None:
            waits.append(asyncio.ensure_future(model.change()))
        try:
            # What changes in the pause is no news either later.
            await asyncio.sleep(_PAUSE_SECONDS)
            await asyncio.wait(waits, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._changed.clear()

    def _tell(self, tether: Tether) -> None:
        if not self._call.is_running:
            # What the session says of the conversation after its end is not how the call was.
            return
        call, model = self._call, self._call.model
        items = call.agent.chat_ctx.items
        progress = model.progress if model else None
        last = items[-1].id if items else None
        mark = (last, len(items), progress, call.session.agent_state == "speaking", call.entering)
        # Half an utterance is of no use: the other half would be missing.
        worth = mark != self._mark and not (self._mark and progress and progress.speaking)
        if worth:
            self._mark = mark
            data = call.snapshot(model.checkpoint() if model else ModelCheckpoint()).encode()
            tether.put_snapshot(self._seal.seal(call.identity.key, data) if self._seal else data)
        state: dict[str, JsonValue] = {
            "agent": str(call.session.agent_state),
            "caller": str(call.session.user_state),
            "began_at": call.began_at.isoformat(),
        }
        if state != self._state:
            self._state = state
            tether.put_state(state)
