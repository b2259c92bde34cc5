"""The planned handover: one agent serves the call until another, in another pod, takes it over.

The agents speak by LiveKit's RPC, which reaches only the participant it names: `meet` (who are you), `take`
(the turn boundary has come; the state is yours), `taken` (you may leave).
"""
