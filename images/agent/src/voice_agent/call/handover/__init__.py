"""The planned handover: one agent serves the call until another, in another pod, takes it over.

The agents speak by LiveKit's RPC, which reaches only the participant it names: `meet` (who are you), `take` (I am
ready; answered at the turn boundary), `alive` (are you, and do you get a processor), `taken` (you may leave).
"""
