"""``python -m lab.gemini``, as the image runs it."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

from lab.gemini.tests.client import DEADLINE_S


async def start(*args: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "lab.gemini", *args]
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)


async def test_it_tells_where_it_listens_and_leaves_on_sigterm(tmp_path: Path) -> None:
    process = await start("--port=0", "--admin-port=0", f"--write-cert={tmp_path}", "--set", "answer_s=2.5")
    assert process.stdout
    async with asyncio.timeout(DEADLINE_S):
        *_, url, _, admin, _, cert = (await process.stdout.readline()).decode().split()
        assert Path(cert) == tmp_path / "tls.crt"
        async with aiohttp.ClientSession() as client:
            async with client.get(f"{admin}/behaviour") as response:
                assert (await response.json())["answer_s"] == 2.5
            async with client.get(url, ssl=ssl.create_default_context(cafile=cert)) as response:
                assert response.status == 404, "TLS works; there is nothing at /"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["--set", "answer=2"], "answer_s"),
        (["--set", "answer_s=long"], "answer_s=long"),
        (["--cert", "tls.crt"], "--key"),
        (["--write-cert", ".", "--cert", "a", "--key", "b"], "--write-cert"),
    ],
)
async def test_wrong_arguments_are_named(args: list[str], named: str) -> None:
    process = await start(*args)
    async with asyncio.timeout(DEADLINE_S):
        _, complaint = await process.communicate()
    assert process.returncode == 2
    assert named in complaint.decode()
