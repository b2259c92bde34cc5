"""Imported once into the forkserver, from which every job process is made.

What is imported here is shared by all of them, and need not be imported while a caller waits: without it a process
costs 0.15 s of a core to start, and more at its first call. Nothing here may start a thread or an event loop; the
team's own code might, and is imported by each process.

A container's init or a shell may send SIGTERM to the whole process group. The main process drains on it; the
forkserver, with Python's default, would die and take every call with it. Job processes ignore it already.
"""

import signal

# livekit-agents imports it when a session starts.
import livekit.agents.llm.async_toolset  # noqa: F401

import voice_agent.call.session  # noqa: F401

signal.signal(signal.SIGTERM, signal.SIG_IGN)
