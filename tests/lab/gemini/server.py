"""The WebSocket server: it accepts both services' paths, and keeps what outlives a connection."""

from __future__ import annotations

import asyncio
import itertools
import logging
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from lab.gemini.admin import admin_api
from lab.gemini.certificates import write_certificate
from lab.gemini.config import Behaviour, Fault
from lab.gemini.conversation import Conversations
from lab.gemini.session import Session

_logger = logging.getLogger(__name__)
# google.genai.live: the Developer API's path and Vertex AI's, each with the API version in it.
_PATHS = (
    "/ws/google.ai.generativelanguage.",
    "/ws/google.cloud.aiplatform.",
)


@dataclass(frozen=True)
class Turn:
    """One user turn as the model took it: the ground truth that callers' reports are held against."""

    time: float
    connection: int
    conversation: str
    call: int
    question: int
    turns: int


class Simulator:
    """Everything that outlives a connection: conversations, faults, the log of turns.

    Attributes:
        behaviour: what new sessions behave like.
        next_behaviours: taken, one each, by the next sessions instead.
        faults: done to the sessions that they match.
        sessions: every session there was, in order.
        turns: every user turn there was, in order.
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.next_behaviours: list[Behaviour] = []
        self.faults: list[Fault] = []
        self.conversations = Conversations()
        self.sessions: list[Session] = []
        self.turns: list[Turn] = []
        self.url = ""
        self.admin_url = ""
        self.certificate = Path()
        self._numbers = itertools.count(1)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Condition()

    def next_number(self) -> int:
        """A number that no other connection or function call has."""
        return next(self._numbers)

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside the connections and keep hold of it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def report_failure(self, task: asyncio.Task[None]) -> None:
        """Log what a session's background task died of."""
        if not task.cancelled() and task.exception():
            _logger.error("a generation failed", exc_info=task.exception())

    def log_turn(self, session: Session, call: int, question: int) -> None:
        """Record a user turn and wake whoever waits for it."""
        conversation = session.conversation
        turn = Turn(time.time(), session.number, conversation.id, call, question, conversation.turns)
        self.turns.append(turn)
        self.spawn(self._notify())

    async def wait_for_turns(self, count: int) -> list[Turn]:
        """Wait until there were so many user turns in all."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.turns) >= count)
        return self.turns

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def handle(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        behaviour = self.next_behaviours.pop(0) if self.next_behaviours else replace(self.behaviour)
        session = Session(self, socket, behaviour, self.next_number())
        self.sessions.append(session)
        await session.serve()

    def check_path(self, connection: ServerConnection, request: Request) -> Response | None:
        """Refuse what is no BidiGenerateContent path."""
        path = request.path.split("?")[0]
        if path.startswith(_PATHS) and path.endswith("BidiGenerateContent"):
            return None
        return connection.respond(404, f"{path} is not simulated\n")


@asynccontextmanager
async def simulator(
    behaviour: Behaviour | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    admin_port: int = 0,
    certificate: Path | None = None,
    key: Path | None = None,
) -> AsyncIterator[Simulator]:
    """Run a simulator; port 0 takes a free one.

    google-genai always connects by TLS when it has an API key: without ``certificate`` and ``key`` one is made, to be
    trusted by ``SSL_CERT_FILE`` or by a client's own SSL context.
    """
    running = Simulator(behaviour)
    with tempfile.TemporaryDirectory() as folder:
        if certificate is None or key is None:
            certificate, key = write_certificate(Path(folder))
        running.certificate = certificate
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate, key)
        async with (
            serve(
                running.handle,
                host,
                port,
                ssl=tls,
                process_request=running.check_path,
                max_size=16 * 2**20,
                compression=None,
            ) as server,
            admin_api(running, host, admin_port) as admin,
        ):
            bound = server.sockets[0].getsockname()[1]
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
            running.url = f"https://{shown}:{bound}"
            running.admin_url = f"http://{shown}:{admin}"
            yield running
