"""Credentials from files: as good as the environment, and what is wrong is told without showing a secret."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from voice_agent.preflight import preflight
from voice_agent.settings import SettingsError, parse, parse_keeper
from voice_agent.settings.credentials import CREDENTIALS

# Made without an argument, as in LiveKit's documentation.
PLAIN = """
from livekit.agents import Agent
from livekit.plugins import google

class Plain(Agent):
    def __init__(self):
        super().__init__(instructions="", llm=google.realtime.RealtimeModel())
"""


@pytest.fixture
def in_files(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """The environment with every credential moved to a file."""
    for variable in sorted(CREDENTIALS & environment.keys()):
        file = tmp_path / variable.lower()
        file.write_text(environment.pop(variable))
        environment[f"{variable}_FILE"] = str(file)
    return environment


def test_files_are_as_good_as_the_environment(environment: dict[str, str], in_files: dict[str, str]) -> None:
    assert "LIVEKIT_API_SECRET" not in in_files

    settings, problems = parse(in_files)

    assert problems == []
    assert settings.livekit_api_key == "key"
    assert settings.livekit_api_secret.get_secret_value() == "a-secret-to-hide"
    assert settings.google_api_key
    assert settings.google_api_key.get_secret_value() == "a-key-to-hide"


def test_a_keeper_reads_its_own_from_files_too(in_files: dict[str, str], tmp_path: Path) -> None:
    for variable in ("REDIS_PASSWORD", "KEEPER_SECRET"):
        (tmp_path / variable).write_text(f"the {variable}")
        in_files[f"{variable}_FILE"] = str(tmp_path / variable)

    settings, problems = parse_keeper(in_files)

    assert problems == []
    assert settings.redis_password
    assert settings.redis_password.get_secret_value() == "the REDIS_PASSWORD"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_end_of_a_line_is_no_part_of_a_secret(in_files: dict[str, str], end: str) -> None:
    Path(in_files["LIVEKIT_API_SECRET_FILE"]).write_bytes(f" with spaces {end}".encode())

    settings, problems = parse(in_files)

    assert problems == []
    assert settings.livekit_api_secret.get_secret_value() == " with spaces "


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "the file cannot be read: No such file or directory"),
        (b"", "the file is empty"),
        (b" \n", "the file is empty"),
        (b"to-hide-1\nto-hide-2\n", "the file has several lines"),
        (b"to-hide\0", "the file has several lines, or characters that cannot be printed"),
        ("to-hide".encode("utf-16"), "the file is no UTF-8 text"),
    ],
    ids=["missing", "empty", "blank", "lines", "nul", "utf-16"],
)
@pytest.mark.parametrize("variable", ["LIVEKIT_API_KEY", "GOOGLE_API_KEY"])
def test_a_file_without_a_credential_is_named_with_its_fix(
    in_files: dict[str, str], variable: str, content: bytes | None, reason: str
) -> None:
    file = Path(in_files[f"{variable}_FILE"])
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)

    with pytest.raises(SettingsError) as refused:
        preflight(in_files)

    text = str(refused.value)
    assert "1 setting is wrong" in text
    assert f"{variable}_FILE={file}\n" in text
    assert reason in text
    assert f"Fix: set it to the path of a file that holds nothing but the credential, or set {variable} instead" in text
    assert "to-hide" not in text


def test_a_folder_is_no_file(in_files: dict[str, str], tmp_path: Path) -> None:
    _, [problem] = parse(in_files | {"GOOGLE_API_KEY_FILE": str(tmp_path)})

    assert problem.reason == "the file cannot be read: Is a directory"


def test_two_sources_are_refused(in_files: dict[str, str]) -> None:
    _, [problem] = parse(in_files | {"GOOGLE_API_KEY": "another-to-hide"})

    assert problem.variable == "GOOGLE_API_KEY_FILE"
    assert "GOOGLE_API_KEY is set, too" in str(problem)
    assert "to-hide" not in str(problem)


def test_a_credential_in_the_place_of_a_path_is_not_shown(in_files: dict[str, str]) -> None:
    _, [problem] = parse(in_files | {"GOOGLE_API_KEY_FILE": "a-key-to-hide"})

    assert str(problem).startswith("GOOGLE_API_KEY_FILE=(hidden, 13 characters)")
    assert "it is not an absolute path" in str(problem)


def test_an_agents_plain_model_finds_the_key(
    in_files: dict[str, str], write_module: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_module("plain_of_a_team", PLAIN)
    # The process's own environment is what libraries read.
    monkeypatch.setattr("os.environ", in_files | {"AGENT_CLASS": "plain_of_a_team:Plain"})
    preflight(os.environ)

    assert os.environ["GOOGLE_API_KEY"] == "a-key-to-hide"
    # A process that this one starts finds one source.
    assert parse(os.environ)[1] == []


def test_what_no_library_asks_for_stays_out_of_the_environment(
    in_files: dict[str, str], tmp_path: Path, write_module: Callable[[str, str], None]
) -> None:
    (tmp_path / "keys").write_text("g" * 43 + "=")
    in_files["STATE_KEYS_FILE"] = str(tmp_path / "keys")

    assert preflight(in_files).settings.state_keys

    assert "STATE_KEYS" not in in_files
