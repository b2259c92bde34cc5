"""LiveKit voice agents on Kubernetes that never drop a call."""
