"""Prometheus metrics that livekit-agents does not have: what the pod can take, takes and refuses.

livekit-agents' own (`lk_agents_*`) are in the same registry. Values are set, not computed at the scrape, so
that they also work with `PROMETHEUS_MULTIPROC_DIR`.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge

REGISTERED = Gauge("voice_agent_registered", "1 once LiveKit has registered the worker", multiprocess_mode="max")
DRAINING = Gauge("voice_agent_draining", "1 from SIGTERM on", multiprocess_mode="max")
SLOTS = Gauge("voice_agent_call_slots", "Calls the pod takes at a time", multiprocess_mode="max")
SLOTS_TAKEN = Gauge("voice_agent_call_slots_taken", "Slots with a call, or promised to one", multiprocess_mode="max")
CALLS = Counter(
    "voice_agent_calls",
    "Calls that ended here; outcome: finished (by itself), moved (to another pod), cut (at the drain deadline), "
    "failed (its process died)",
    ["outcome"],
)
CALLS_REFUSED = Counter(
    "voice_agent_calls_refused",
    "Calls left to another pod; reason: full or draining",
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
    "reason, of a fresh one: broken or newer (snapshot), unknown_key, none_kept, no_keeper_url",
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
GEMINI_LOST = Counter("voice_agent_gemini_lost", "Calls that ended because Gemini could not be reached again")
LOSSES = Counter(
    "voice_agent_keeper_losses",
    "Calls that went out of a keeper's sight; how: closed (connection), silent (no heartbeat)",
    ["how"],
)
RECOVERIES = Counter(
    "voice_agent_keeper_recoveries",
    "Calls whose agent was gone; result: recovered, caller_left, given_up (the caller waits, no agent came), "
    "left_to_another (keeper)",
    ["result"],
)
FOUND = Counter(
    "voice_agent_keeper_found",
    "Callers without an agent that no tether told of; why: unanswered (no pod took the call), agent_gone",
    ["why"],
)
KEEPER_CALLS = Gauge("voice_agent_keeper_calls", "Calls that the keeper knows", multiprocess_mode="max")
KEEPER_LEADING = Gauge("voice_agent_keeper_leading", "1 while the keeper acts", multiprocess_mode="max")
