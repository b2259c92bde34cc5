"""One pod: it registers with LiveKit, takes calls up to its slots, and drains on SIGTERM."""
