"""The tether: one connection per call and keeper that tells whether the call's process lives."""
