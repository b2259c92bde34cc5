"""Who is let in: by the API server's word, or by the shared secret."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from voice_agent.kubernetes import ApiServer
from voice_agent.tether.auth import AUDIENCE, DeniedError, Identity, SharedSecret, TokenReviews, UndecidedError

FLEET = "system:serviceaccount:calls:voice-agent"


class Api:
    """The API server's TokenReview; what it answers is the test's choice."""

    def __init__(self, status: dict[str, Any] | None, code: int = 201) -> None:
        self.status, self.code = status, code
        self.asked: list[dict[str, Any]] = []
        self.answers = asyncio.Event()
        self.answers.set()

    async def review(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer the-keepers-own"
        self.asked.append(await request.json())
        await self.answers.wait()
        return web.json_response({"status": self.status}, status=self.code)


def vouched(
    username: str = FLEET, audiences: tuple[str, ...] = (AUDIENCE,), pod: str | None = "pod-1"
) -> dict[str, Any]:
    extra = {} if pod is None else {"authentication.kubernetes.io/pod-name": [pod]}
    return {"authenticated": True, "audiences": list(audiences), "user": {"username": username, "extra": extra}}


@asynccontextmanager
async def reviews(api: Api, folder: Path, clock: list[float] | None = None) -> AsyncIterator[TokenReviews]:
    (folder / "token").write_text("the-keepers-own\n")
    app = web.Application()
    app.add_routes([web.post("/apis/authentication.k8s.io/v1/tokenreviews", api.review)])
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        now = clock or [0.0]
        yield TokenReviews(ApiServer("calls", url, folder), ["voice-agent"], clock=lambda: now[0])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("pod", ["pod-1", None])
async def test_a_pod_of_the_fleet_is_let_in_and_known_by_its_token(tmp_path: Path, pod: str | None) -> None:
    api = Api(vouched(pod=pod))
    async with reviews(api, tmp_path) as reviewing:
        assert await reviewing.identify("Bearer a-pods") == Identity(pod)
    assert api.asked[0]["spec"] == {"token": "a-pods", "audiences": [AUDIENCE]}


@pytest.mark.parametrize(
    "status",
    [
        {"authenticated": False},
        {},
        vouched("system:serviceaccount:calls:default"),
        vouched("system:serviceaccount:elsewhere:voice-agent"),
        vouched(audiences=("https://kubernetes.default.svc",)),
        vouched(audiences=()),
    ],
)
async def test_whoever_else_is_refused(tmp_path: Path, status: dict[str, Any]) -> None:
    async with reviews(Api(status), tmp_path) as reviewing:
        with pytest.raises(DeniedError):
            await reviewing.identify("Bearer a-pods")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic a-pods"])
async def test_without_a_token_nobody_is_asked(tmp_path: Path, header: str | None) -> None:
    api = Api(vouched())
    async with reviews(api, tmp_path) as reviewing:
        with pytest.raises(DeniedError):
            await reviewing.identify(header)
    assert not api.asked


async def test_the_calls_of_a_pod_are_reviewed_once_a_minute_and_another_pods_anew(tmp_path: Path) -> None:
    api, clock = Api(vouched()), [0.0]
    async with reviews(api, tmp_path, clock) as reviewing:
        for _ in range(6):
            await reviewing.identify("Bearer a-pods")
        assert len(api.asked) == 1
        await reviewing.identify("Bearer anothers")
        assert len(api.asked) == 2
        clock[0] = 61.0
        api.status = {"authenticated": False}
        with pytest.raises(DeniedError):
            await reviewing.identify("Bearer a-pods")


@pytest.mark.parametrize(("status", "code"), [(vouched(), 500), (vouched(), 403), (None, 201)])
async def test_an_api_server_that_does_not_tell_is_no_refusal(tmp_path: Path, status: Any, code: int) -> None:
    async with reviews(Api(status, code), tmp_path) as reviewing:
        with pytest.raises(UndecidedError):
            await reviewing.identify("Bearer a-pods")


async def test_a_pod_that_was_let_in_stays_known_while_the_api_server_is_away_and_not_for_ever(tmp_path: Path) -> None:
    api, clock = Api(vouched()), [0.0]
    async with reviews(api, tmp_path, clock) as reviewing:
        await reviewing.identify("Bearer a-pods")
        api.code, clock[0] = 500, 600.0
        assert await reviewing.identify("Bearer a-pods") == Identity("pod-1")
        with pytest.raises(UndecidedError):
            await reviewing.identify("Bearer anothers")
        clock[0] = 800.0
        with pytest.raises(UndecidedError):
            await reviewing.identify("Bearer a-pods")


async def test_a_pod_that_is_known_does_not_wait_for_an_api_server_that_hangs(tmp_path: Path) -> None:
    api, clock = Api(vouched()), [0.0]
    async with reviews(api, tmp_path, clock) as reviewing:
        await reviewing.identify("Bearer a-pods")
        clock[0] = 600.0
        api.answers.clear()
        try:
            # Less than what keepers have for each other's answers.
            async with asyncio.timeout(0.4):
                assert await reviewing.identify("Bearer a-pods") == Identity("pod-1")
        finally:
            api.answers.set()


async def test_a_pod_that_is_refused_later_is_not_let_in_by_an_outage(tmp_path: Path) -> None:
    api, clock = Api(vouched()), [0.0]
    async with reviews(api, tmp_path, clock) as reviewing:
        await reviewing.identify("Bearer a-pods")
        api.status, clock[0] = {"authenticated": False}, 61.0
        with pytest.raises(DeniedError):
            await reviewing.identify("Bearer a-pods")
        api.code = 500
        with pytest.raises(UndecidedError):
            await reviewing.identify("Bearer a-pods")


async def test_an_api_server_that_is_away_is_no_refusal(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("the-keepers-own")
    with pytest.raises(UndecidedError):
        await TokenReviews(ApiServer("calls", "http://127.0.0.1:9", tmp_path), ["voice-agent"]).identify(
            "Bearer a-pods"
        )


async def test_the_shared_secret_lets_in_and_nothing_else_does() -> None:
    secret = SharedSecret("open sesame")
    assert await secret.identify("Bearer open sesame") == Identity(None)
    for wrong in (None, "Bearer open", "Bearer open sesame!", "open sesame"):
        with pytest.raises(DeniedError):
            await secret.identify(wrong)
