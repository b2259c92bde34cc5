"""``make demo``: real calls, a fleet that is disrupted under them, and what the callers heard."""

from lab.demo.run import DemoOptions, run

__all__ = ["DemoOptions", "run"]
