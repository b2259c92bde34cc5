"""The simulator, tested with the real client."""
