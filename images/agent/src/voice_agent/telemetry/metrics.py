"""Prometheus metrics that livekit-agents does not have: what the pod can take, takes and refuses.

livekit-agents' own (`lk_agents_*`) are in the same registry, which the worker's main process shows. Each call is a
process of its own: what it counts, it tells its worker, for prometheus_client's multi-process mode loses what a process
counted before livekit-agents starts (1.8.9 empties the folder then).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from prometheus_client import Counter, Gauge

REGISTERED = Gauge("voice_agent_registered", "1 once LiveKit has registered the worker")
DRAINING = Gauge("voice_agent_draining", "1 from SIGTERM on")
SLOTS = Gauge("voice_agent_call_slots", "Calls the pod takes at a time")
SLOTS_TAKEN = Gauge("voice_agent_call_slots_taken", "Slots with a call, or promised to one")
CALLS = Counter(
    "voice_agent_calls",
    "Calls that ended here; outcome: finished (by itself), moved (another agent has it), cut (at the drain deadline), "
    "failed (its process died)",
    ["outcome"],
)
CALLS_REFUSED = Counter(
    "voice_agent_calls_refused",
    "Calls left to another pod; reason: full, draining, outdated (a newer one shall have what is handed over), or "
    "no_model (the pod has had no session with Gemini yet, or a call of it got none a moment ago; what moves or is "
    "taken up goes elsewhere)",
    ["reason"],
)
HANDOVERS = Counter(
    "voice_agent_handovers",
    "Handovers that were tried; result: taken, failed (the call went on here), given_up (at the deadline)",
    ["result"],
)
RESTORES = Counter(
    "voice_agent_restores",
    "Calls that another agent began; kind: handover, recovery; result: restored, fresh (the conversation began anew); "
    "reason, of a fresh one: broken, newer or fatal (snapshot), unknown_key, none_kept, no_keeper_url",
    ["kind", "result", "reason"],
)
GEMINI_RECONNECTS = Counter(
    "voice_agent_gemini_reconnects",
    "Connections to Gemini that replaced one in a call; reason: goaway, stall, options, dropped, unreachable, "
    "broken, or the close code",
    ["reason"],
)
GEMINI_TURNS_REPLAYED = Counter(
    "voice_agent_gemini_turns_replayed",
    "Turns that another connection was given to answer; how: audio (heard again), continue (the rest of an answer), "
    "tool (results of functions), request (what the agent asked for)",
    ["how"],
)
GEMINI_TURNS_LOST = Counter(
    "voice_agent_gemini_turns_lost", "Turns given up because no connection answered them, in calls that went on"
)
GEMINI_MISSING = Gauge(
    "voice_agent_gemini_missing", "1 while Gemini, asked since the pod's start, has refused it or not answered"
)
MODEL_LOST = "gemini_lost"
UNREACHABLE, REFUSED, FAILED = "unreachable", "refused", "failed"
GEMINI_LOST = Counter(
    "voice_agent_gemini_lost",
    "Calls whose agent left, or did not take over, because Gemini could not be talked to; why: unreachable or refused "
    "(from this pod: another is tried), failed (it would, and did not do its work)",
    ["why"],
)
# Prometheus sees no increase in a series that begins with 1.
for _why in (UNREACHABLE, REFUSED, FAILED):
    GEMINI_LOST.labels(_why)
LOSSES = Counter(
    "voice_agent_keeper_losses",
    "Calls that went out of a keeper's sight; how: closed (connection), silent (no heartbeat), "
    "cut-off (its agent said that nothing comes from LiveKit)",
    ["how"],
)
RECOVERIES = Counter(
    "voice_agent_keeper_recoveries",
    "Calls whose agent was gone; result: recovered, caller_left, given_up (the caller waits, no agent came), "
    "returned (the lost agent did), left_to_another (keeper)",
    ["result"],
)
FOUND = Counter(
    "voice_agent_keeper_found",
    "Callers without an agent that no tether told of; why: unanswered (no pod took the call), agent_gone, "
    "returned (the agent was gone because the caller was)",
    ["why"],
)
WEBHOOKS = Counter(
    "voice_agent_keeper_webhooks",
    "LiveKit's webhooks by their event, such as participant_left; refused: not signed with the keepers' key",
    ["event"],
)
KEEPER_CALLS = Gauge("voice_agent_keeper_calls", "Calls that the keeper knows")
KEEPER_LEADING = Gauge("voice_agent_keeper_leading", "1 while the keeper acts")

OF_CALLS = {
    "gemini_reconnects": GEMINI_RECONNECTS,
    "gemini_turns_replayed": GEMINI_TURNS_REPLAYED,
    "gemini_turns_lost": GEMINI_TURNS_LOST,
    MODEL_LOST: GEMINI_LOST,
}
"""What is counted where a call is."""

_untold: deque[tuple[str, tuple[str, ...]]] = deque(maxlen=100)
_tell: Callable[[str, tuple[str, ...]], None] | None = None


def add(name: str, *labels: str) -> None:
    """Add one to the counter of `OF_CALLS` by this name and with these values of its labels, in their order."""
    counter = OF_CALLS[name]
    (counter.labels(*labels) if labels else counter).inc()


def count(name: str, *labels: str) -> None:
    """Count something that happened to this process's call: `add` it, here and in the worker."""
    add(name, *labels)
    _untold.append((name, labels))
    _flush()


def tell_counts(tell: Callable[[str, tuple[str, ...]], None]) -> None:
    """From now on have `tell` called with what is counted here, and with what was counted before."""
    global _tell
    _tell = tell
    _flush()


def _flush() -> None:
    while _tell is not None and _untold:
        _tell(*_untold.popleft())
