"""`python -m voice_agent`: the image's entry point, made to run as PID 1."""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    # The kernel drops signals that PID 1 has no handler for. The imports below take seconds, in which
    # there is no call to wait for: a SIGTERM may end the process at once.
    signal.signal(signal.SIGTERM, _leave)

    # Nothing that imports make is garbage soon; looking for some, again and again, takes a good part of their time.
    gc.disable()
    from voice_agent.cli import main

    gc.freeze()
    gc.enable()
    sys.exit(main())
