"""The API server, as far as this image needs it: a few objects, read and written as JSON."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import aiohttp

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
URL = "https://kubernetes.default.svc"

ERRORS = (OSError, aiohttp.ClientError, TimeoutError, ValueError, KeyError)
_SECONDS = 2.0


class ApiServer:
    """Requests with the pod's own service account, whose token Kubernetes renews in its file.

    Args:
        namespace: of everything that is asked for.
        url: of the API server.
        credentials: folder with `token` and `ca.crt`.
    """

    def __init__(self, namespace: str, url: str = URL, credentials: Path = SERVICE_ACCOUNT) -> None:
        self.namespace = namespace
        self._url = url
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        params: dict[str, str] | None = None,
        seconds: float = _SECONDS,
    ) -> tuple[int, Any]:
        """Status and object.

        Raises:
            ERRORS: it does not answer, or not within `seconds`.
        """
        if self._session is None:
            tls = _tls(self._credentials / "ca.crt") if self._url.startswith("https:") else False
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))
        headers = {"Authorization": f"Bearer {(self._credentials / 'token').read_text().strip()}"}
        timeout = aiohttp.ClientTimeout(total=seconds)
        async with self._session.request(
            method, f"{self._url}{path}", json=body, params=params, headers=headers, timeout=timeout
        ) as answer:
            return answer.status, await answer.json()

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()


def _tls(authority: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    # Since Python 3.13 the default; it refuses certificates without a key identifier, which many API servers have.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
