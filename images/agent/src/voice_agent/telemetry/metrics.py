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
    "Calls that ended; outcome: finished (by itself), cut (at the drain deadline), failed (its process died)",
    ["outcome"],
)
CALLS_REFUSED = Counter("voice_agent_calls_refused", "Calls left to another pod; reason: full or draining", ["reason"])
