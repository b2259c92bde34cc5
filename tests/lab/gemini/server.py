"""The WebSocket server: it accepts both services' paths, and keeps what outlives a connection."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from lab.gemini.admin import admin_api
from lab.gemini.certificates import write_certificate
from lab.gemini.config import Behaviour
from lab.gemini.conversation import Conversation, Conversations
from lab.gemini.faults import Fault
from lab.gemini.session import Record, Session
from lab.gemini.turns import Turn

# google.genai.live: the Developer API's path and Vertex AI's, each with the API version in it.
_PATHS = (
    "/ws/google.ai.generativelanguage.",
    "/ws/google.cloud.aiplatform.",
)
# A client may send a long history, or images, in one message.
_LONGEST_MESSAGE = 16 * 2**20


class Simulator:
    """Everything that outlives a connection: conversations, faults, the log of turns.

    Attributes:
        behaviour: what new sessions behave like.
        next_behaviours: taken, one each, by the next sessions instead.
        faults: done to the sessions that they match.
        sessions: a record of every connection there was, in order.
        open: the connections that are open, by number.
        turns: every user turn there was, in order.
        conversations: what handles bring back.
        url: ``https://`` address for google-genai's ``base_url``.
        admin_url: ``http://`` address of the admin API.
        certificate: what a client must trust.
    """

    def __init__(self, behaviour: Behaviour | None = None) -> None:
        self.behaviour = behaviour or Behaviour()
        self.next_behaviours: list[Behaviour] = []
        self.faults: list[Fault] = []
        self.sessions: list[Record] = []
        self.open: dict[int, Session] = {}
        self.turns: list[Turn] = []
        self.conversations = Conversations()
        self.url = ""
        self.admin_url = ""
        self.certificate = Path()
        self._numbers = itertools.count(1)
        self._changed = asyncio.Event()

    def note_change(self) -> None:
        """Wake whoever waits: a turn or a connection began, or ended."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until a condition on turns or connections holds."""
        while not condition():
            await self._changed.wait()

    async def wait_for_turns(self, count: int) -> list[Turn]:
        """Wait until there were so many user turns in all."""
        await self.wait_until(lambda: len(self.turns) >= count)
        return self.turns

    async def wait_for_sessions(self, count: int) -> list[Record]:
        """Wait until so many connections were set up in all."""
        await self.wait_until(lambda: sum(record.ready is not None for record in self.sessions) >= count)
        return self.sessions

    def serves(self, conversation: Conversation) -> bool:
        """Whether a connection of this conversation is open."""
        return any(session.conversation.id == conversation.id for session in self.open.values())

    async def add_fault(self, fault: Fault) -> None:
        """Let a fault happen when it is due; one for ``now`` happens before this returns."""
        self.faults.append(fault)
        if fault.when == "now":
            await asyncio.gather(*(session.suffer_now(fault) for session in list(self.open.values())))

    async def handle(self, socket: ServerConnection) -> None:
        """Serve one connection."""
        behaviour = self.next_behaviours.pop(0) if self.next_behaviours else replace(self.behaviour)
        number = next(self._numbers)
        session = Session(self, socket, behaviour, number)
        self.sessions.append(session.record)
        self.open[number] = session
        try:
            await session.serve()
        finally:
            del self.open[number]
            self.note_change()

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

    Raises:
        ValueError: only one of ``certificate`` and ``key`` is given.
        OSError: a port is taken, or the certificate cannot be read.
    """
    if (certificate is None) != (key is None):
        raise ValueError("certificate and key belong together: give both, or neither to have them made")
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
                max_size=_LONGEST_MESSAGE,
                compression=None,
            ) as server,
            admin_api(running, host, admin_port) as admin,
        ):
            bound = server.sockets[0].getsockname()[1]
            shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
            running.url = f"https://{shown}:{bound}"
            running.admin_url = f"http://{shown}:{admin}"
            yield running
