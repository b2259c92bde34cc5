"""The commands, as far as they go without a server."""

from __future__ import annotations

import subprocess
import sys

import pytest

from voice_agent.cli import main

VARIABLES = ("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "GOOGLE_API_KEY", "AGENT_CLASS")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def test_a_worker_without_settings_names_them_all_and_leaves_with_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_CLASS", "no_such_package:Agent")

    assert main(["worker"]) == 2

    told = capsys.readouterr().err
    assert "voice-agent cannot start: 4 settings are wrong" in told
    assert "LIVEKIT_URL is not set" in told
    assert "AGENT_CLASS=no_such_package:Agent" in told
    assert "Traceback" not in told


def test_a_check_without_settings_tries_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 1

    rows = [line.split(maxsplit=2)[:2] for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert rows == [["settings", "FAIL"]] * 4 + [
        ["agent", "OK"],
        ["livekit", "skipped"],
        ["gemini", "skipped"],
        ["traces", "skipped"],
    ]


@pytest.mark.parametrize("command", ["keeper", "calls"])
def test_a_keeper_waits_for_nothing_that_only_calls_need(command: str) -> None:
    code = (
        f"import sys; from voice_agent.cli import main; left = main([{command!r}]); "
        "print(left, *{'livekit.agents', 'google.genai'} & sys.modules.keys())"
    )
    told = subprocess.run([sys.executable, "-c", code], env={}, stdout=subprocess.PIPE, text=True, check=True)

    assert told.stdout == {"keeper": "2\n", "calls": "1\n"}[command]


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["wroker"])

    assert left.value.code == 2
    assert "worker" in capsys.readouterr().err
