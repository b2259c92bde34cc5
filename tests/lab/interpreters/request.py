"""What the client asks the warm interpreter for, and what that answers, each in one message with its files."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

# Of one message: an environment is the longest part.
LIMIT = 1024 * 1024


class Request(BaseModel):
    """A program; its stdin, stdout and stderr come as files with it, in this order.

    Attributes:
        module: what Python runs, as with ``-m``.
        arguments: the program's own.
        environment: all of it.
        session: whether it leads a session, and so a process group, of its own.
    """

    model_config = ConfigDict(frozen=True)

    module: str
    arguments: list[str]
    environment: dict[str, str]
    session: bool


class Answer(BaseModel):
    """What became of it: its number when it begins, its exit code besides when it has ended.

    Attributes:
        pid: its process' number.
        code: the exit code as `subprocess` tells it: a signal's number is negative.
    """

    model_config = ConfigDict(frozen=True)

    pid: int
    code: int | None = None
