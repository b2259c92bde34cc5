"""An agent whose call tells which modules it imports."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Sequence
from types import ModuleType

from livekit.agents import Agent

logger = logging.getLogger(__name__)


class _Noted:
    """A finder that finds nothing, and tells what it was asked for."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        """See `importlib.abc.MetaPathFinder`."""
        logger.warning("imports %s", name)


class Importing(Agent):
    """Notes imports from when its call begins."""

    def __init__(self) -> None:
        super().__init__(instructions="Say hello.")
        # The worker itself makes one to see that it can.
        if multiprocessing.parent_process() is not None:
            sys.meta_path.insert(0, _Noted())
            logger.warning("notes imports")

    async def on_enter(self) -> None:
        """Greet the caller."""
        self.session.generate_reply(instructions="Say hello.")
