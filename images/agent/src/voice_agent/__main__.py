"""`python -m voice_agent`: the image's entry point, made to run as PID 1."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


if __name__ == "__main__":
    # The kernel drops signals that PID 1 has no handler for. The imports that follow take seconds, in which
    # there is no call to wait for: a SIGTERM may end the process at once.
    signal.signal(signal.SIGTERM, _leave)

    from voice_agent.cli import main

    sys.exit(main())
