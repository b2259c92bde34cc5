"""LiveKit voice agents on Kubernetes that never drop a call.

`cli` is the way in; `worker` is one pod, `call` one call, `gemini` the model, `telemetry` what operators
see, `settings` what operators set. Imports point downwards only, in that order.
"""

from importlib.metadata import version

__version__ = version("voice-agent")
