"""`voice-agent check` against servers that are there, and against ones that are not."""

from __future__ import annotations

import asyncio
import os
import sys


async def check(variables: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Its exit code, and each row's verdict and text by name."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voice_agent",
        "check",
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 90)
    rows: dict[str, str] = {}
    name = ""
    for line in out.decode().splitlines():
        if not line.startswith(" "):
            name, line = line.split(maxsplit=1)
        rows[name] = rows.get(name, "") + line
    assert process.returncode is not None
    return process.returncode, rows


async def test_all_is_well(variables: dict[str, str]) -> None:
    code, rows = await check(variables)

    assert code == 0, rows
    assert {name: row.split()[0] for name, row in rows.items()} == {
        "settings": "OK",
        "agent": "OK",
        "livekit": "OK",
        "gemini": "OK",
        "traces": "skipped",
    }


async def test_nobody_answers(variables: dict[str, str]) -> None:
    code, rows = await check(
        variables
        | {
            "LIVEKIT_URL": "ws://127.0.0.1:1",
            "GEMINI_BASE_URL": "https://127.0.0.1:1",
            "AGENT_CLASS": "voice_agent.assistant:Assistent",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1",
        }
    )

    assert code == 1
    assert {name: row.split()[0] for name, row in rows.items()} == {
        "settings": "OK",
        "agent": "FAIL",
        "livekit": "FAIL",
        "gemini": "FAIL",
        "traces": "FAIL",
    }
    assert all("Fix: " in rows[name] for name in ("agent", "livekit", "gemini", "traces"))


async def test_a_wrong_secret_is_not_accepted(variables: dict[str, str]) -> None:
    code, rows = await check(variables | {"LIVEKIT_API_SECRET": "not the secret of this key, but as long"})

    assert code == 1
    assert rows["livekit"].startswith("FAIL")
    assert "unauthenticated" in rows["livekit"].lower() or "401" in rows["livekit"]
    assert rows["gemini"].startswith("OK")
