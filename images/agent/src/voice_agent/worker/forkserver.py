"""Imported into the forkserver before any job process is made: a SIGTERM there must not end calls.

A container's init or a shell may send SIGTERM to the whole process group. The main process drains on it; the
forkserver, with Python's default, would die and take every call with it. Job processes ignore it already.
"""

import signal

signal.signal(signal.SIGTERM, signal.SIG_IGN)
