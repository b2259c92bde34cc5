"""Imported once into the forkserver, from which every job process is made.

What is imported and built here is shared by all of them, and takes no time of a core while a caller waits; it counts
where a pod takes up many calls at once. Nothing here may start a thread or an event loop; the team's own code might,
and is imported by each process.

A container's init or a shell may send SIGTERM to the whole process group. The main process drains on it; the
forkserver, with Python's default, would die and take every call with it. Job processes ignore it already.
"""

import signal
from contextlib import suppress

# These are imported when a session starts, when the agent first speaks, and when a session ends.
import anyio._backends._asyncio  # noqa: F401
import livekit.agents.llm.async_toolset
import livekit.agents.voice.report  # noqa: F401
import numpy.fft  # noqa: F401
from livekit.agents import ChatContext, ChatMessage

# Its patterns are read at the first word, which the transcript's synchronizer has wait for them.
from livekit.agents.tokenize.basic import hyphenate_word

import voice_agent.call.session  # noqa: F401
from voice_agent.gemini import endpoint, schemas

schemas.build()
# What has been said in a call that is restored is read with these; the first use of them builds their schemas, too.
ChatMessage.model_rebuild()
ChatContext.from_dict({"items": []})
hyphenate_word("word")
# If it cannot be read, whoever connects to Gemini says so.
with suppress(OSError):
    endpoint.trusted()

signal.signal(signal.SIGTERM, signal.SIG_IGN)
