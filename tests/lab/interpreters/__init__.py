"""Python programs in processes of their own, each an interpreter of its own or forked from one that is warm."""

from lab.interpreters.client import Process, cold, start, warm

__all__ = ["Process", "cold", "start", "warm"]
