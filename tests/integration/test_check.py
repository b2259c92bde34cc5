"""`voice-agent check` against servers that are there, and against ones that are not."""

from __future__ import annotations

from lab.worker import check


async def test_all_is_well(variables: dict[str, str]) -> None:
    code, rows = await check(variables)

    assert code == 0, rows
    assert {name: row.split()[0] for name, row in rows.items()} == {
        "settings": "OK",
        "secrets": "OK",
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
        "secrets": "OK",
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
