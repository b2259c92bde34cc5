"""What is particular to a call whose agent is gone: only the keepers' snapshot tells of it, and the caller waits."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import NamedTuple

from livekit.agents import ChatContext

from voice_agent.call import entrance
from voice_agent.call.keeping import credential_of, seal_of
from voice_agent.call.live import Call
from voice_agent.call.snapshot import CallIdentity, Snapshot, SnapshotError, Unusable, decode
from voice_agent.settings import Settings
from voice_agent.state.seal import SealError
from voice_agent.tether.ask import Keepers

logger = logging.getLogger(__name__)

# Two agents that die while they restore a call may be chance. What a team's class does with its state is the likeliest
# to be too much for a process, and the conversation the dearest to lose.
STATELESS_AFTER_DEATHS = 3
FRESH_AFTER_DEATHS = 5

_INSTRUCTIONS = (
    "The caller could not hear you for a moment. Tell the caller now, in the language that the two of you speak, and "
    "without a word more: {line}"
)
_CUT_OFF = (
    "The caller could not hear the end of your last answer. Tell the caller so in a few words, in the language that "
    "the two of you speak, and say that answer again, shortly."
)


class Fresh(StrEnum):
    """Why a call whose agent is gone goes on as a new conversation."""

    BROKEN = Unusable.BROKEN.value
    NEWER = Unusable.NEWER.value
    UNKNOWN_KEY = "unknown_key"
    """The snapshot is sealed with none of the keys in STATE_KEYS."""
    NONE_KEPT = "none_kept"
    """No keeper has a snapshot of the call, or none answers."""
    NO_KEEPER_URL = "no_keeper_url"
    """KEEPER_URL is not set."""
    FATAL = "fatal"
    """Every agent that restored the snapshot has died of it."""


class HeldError(Exception):
    """Another agent has the call."""


class Claim(NamedTuple):
    """What an agent without an errand of the keepers' goes on with.

    Attributes:
        epoch: the call's.
        deaths: see `fetch`.
    """

    epoch: int
    deaths: int = 0


async def claim(call: CallIdentity, settings: Settings) -> Claim:
    """The epoch of an agent that was dispatched as if to a new call, which may have had an agent before.

    LiveKit Cloud dispatches again by itself when a worker dies, and any LiveKit may run one dispatch twice.

    Returns:
        That of epoch 1 for a new call, as far as anybody knows; else of the next one.

    Raises:
        HeldError: an agent has the call, as the keepers see it.
    """
    if settings.keeper_url is None:
        return Claim(1)
    keepers = Keepers(settings.keeper_url, credential_of(settings))
    known = await keepers.epoch(call.key)
    if known.epoch == 0:
        return Claim(1)
    if known.held:
        raise HeldError
    claimed = await keepers.claim(call.key, above=known.epoch)
    if claimed.held:
        raise HeldError
    # With no answer the room is all that tells of two with the same epoch: one leaves.
    return Claim(max(claimed.epoch, known.epoch + 1), claimed.died)


async def claim_lost(call: CallIdentity, above: int, settings: Settings) -> int | None:
    """The epoch of an agent that was called by one which has died since; None unless the keepers hold that to be so.

    It is above that of the agent which the keepers send at the same time: whoever has one must go on.

    Args:
        call: as it is kept.
        above: the epoch of the agent that is gone.
        settings: of the worker.
    """
    if settings.keeper_url is None:
        return None
    return await Keepers(settings.keeper_url, credential_of(settings)).claim_lost(call.key, above)


async def fetch(call: CallIdentity, settings: Settings, deaths: int = 0) -> Snapshot | Fresh:
    """The latest snapshot of the call, or why there is none of use, and the conversation begins anew.

    Args:
        call: as it is kept.
        settings: of the worker.
        deaths: how many agents in a row have died while they restored it: at first the agent's own state is left out.
    """
    if settings.keeper_url is None:
        return Fresh.NO_KEEPER_URL
    if deaths >= FRESH_AFTER_DEATHS:
        return Fresh.FATAL
    sealed = await Keepers(settings.keeper_url, credential_of(settings)).snapshot(call.key)
    if sealed is None:
        return Fresh.NONE_KEPT
    try:
        seal = seal_of(settings)
        snapshot = decode(seal.open(call.key, sealed) if seal else sealed)
    except SealError as error:
        logger.error("the snapshot cannot be opened: %s", error)  # noqa: TRY400 - the cause is told
        return Fresh.UNKNOWN_KEY
    except SnapshotError as error:
        logger.error("the snapshot cannot be used: %s", error)  # noqa: TRY400 - the cause is told
        return Fresh(error.reason.value)
    try:
        ChatContext.from_dict(snapshot.agent.chat)
    except Exception as error:  # noqa: BLE001 - a later livekit-agents may have written what this one trips over
        # Its message may quote the conversation.
        logger.error("the snapshot's conversation cannot be read: %s", type(error).__name__)  # noqa: TRY400
        return Fresh.BROKEN
    if deaths >= STATELESS_AFTER_DEATHS and snapshot.agent.own is not None:
        logger.error(
            "%d agents in a row have died while they restored this call; it goes on without the own state of %s",
            deaths,
            snapshot.agent.path,
        )
        return snapshot.model_copy(update={"agent": snapshot.agent.model_copy(update={"own": None})})
    return snapshot


async def resume(call: Call, snapshot: Snapshot, gone_at: float) -> None:
    """Go on with the model's state, and with what this agent has heard since it was written, if it was there by then.

    Else the beginning of an utterance whose end nobody has heard is left out.

    Args:
        call: of this process.
        snapshot: of the call.
        gone_at: when the agent before was gone, on this process's `time.monotonic()`.
    """
    state, heard = snapshot.model, call.model.heard_s if call.model else 0.0
    # The clock that it was written by may be another than ours; it was written before its agent was gone.
    ago = max(time.monotonic() - gone_at, time.time() - state.recorded_until)
    if heard < ago and snapshot.caller_speaking:
        state = replace(state, pending_audio=b"", answered_bytes=0)
    await call.resume(state, cut=time.monotonic() - ago)


def speak(call: Call, snapshot: Snapshot, line: str) -> None:
    """Say `line`, or the answer that was cut off, unless the caller is speaking, or hears a late answer anyway.

    Where nobody has said anything, since the agent before did not live to, it is what an agent begins with.
    """
    model = call.model
    if not call.is_running:
        return
    if snapshot.entering:
        call.reentered = True
        entrance.make_up(call.session)
        return
    if call.caller_speaking or (model is not None and model.progress.owed):
        return
    # Of a caller who hangs up at this moment the session may be closing.
    with suppress(RuntimeError):
        if snapshot.agent_speaking:
            call.session.generate_reply(instructions=_CUT_OFF)
        elif line:
            call.session.generate_reply(instructions=_INSTRUCTIONS.format(line=line))
