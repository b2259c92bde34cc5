"""What a caller would wait for is done before the caller comes."""

from __future__ import annotations

import subprocess
import sys

from voice_agent.worker.server import PRELOAD

# In a process of its own: whatever other tests have used here is built.
_PROGRAM = f"""
import {PRELOAD}
from google.genai import types
sent = types.LiveConnectParameters, types.LiveClientMessage, types.LiveClientContent, types.Blob, types.Tool
heard = types.LiveServerMessage, types.LiveServerContent, types.Part, types.Transcription, types.UsageMetadata
print([each.__name__ for each in (*sent, *heard) if not each.__pydantic_complete__])
"""


def test_no_schema_of_the_live_api_is_left_to_a_calls_process() -> None:
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
