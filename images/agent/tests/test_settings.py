"""Settings: every problem at once, each with its variable, value and fix."""

from __future__ import annotations

import pytest

from voice_agent.settings import SettingsError, missing_for_gemini, parse


def test_every_problem_is_told_at_once(environment: dict[str, str]) -> None:
    del environment["LIVEKIT_API_KEY"]
    environment |= {
        "LIVEKIT_URL": "http://livekit.example",
        "CALL_SLOTS": "many",
        "OTEL_TRACES_EXPORTER": "otlp",
        "PROBE_PORT": "9090",
    }

    _, problems = parse(environment)

    text = str(SettingsError(problems))
    assert "5 settings are wrong" in text
    for part in (
        "LIVEKIT_URL=http://livekit.example",
        "it is not a URL that starts with ws:// or wss://",
        "for example wss://my-project.livekit.cloud",
        "LIVEKIT_API_KEY is not set",
        "CALL_SLOTS=many",
        "a whole number from 1 up",
        "OTEL_EXPORTER_OTLP_ENDPOINT is not set",
        "PROBE_PORT is the same port",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LIVEKIT_URL", "livekit.example"),
        ("LIVEKIT_URL", "wss://"),
        ("LIVEKIT_URL", "wss://livekit.example:port"),
        ("AGENT_CLASS", "my_agent.Agent"),
        ("AGENT_CLASS", "my-agent:Agent"),
        ("CALL_SLOTS", "0"),
        ("CALL_SLOTS", "2.5"),
        ("IDLE_PROCESSES", "-1"),
        ("GOOGLE_GENAI_USE_VERTEXAI", "perhaps"),
        ("GEMINI_BASE_URL", "gemini.example"),
        ("VAD", "webrtc"),
        ("DRAIN_TIMEOUT_SECONDS", "-1"),
        ("DRAIN_TIMEOUT_SECONDS", "8m"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("PROBE_PORT", "70000"),
        ("METRICS_PORT", "0"),
    ],
)
def test_a_wrong_value_is_named_with_its_fix(environment: dict[str, str], variable: str, value: str) -> None:
    environment[variable] = value

    _, problems = parse(environment)

    assert [(problem.variable, problem.value) for problem in problems] == [(variable, value)]
    assert problems[0].fix.startswith(("set it to", "write it as"))


def test_a_secret_is_never_shown(environment: dict[str, str]) -> None:
    environment |= {"LIVEKIT_URL": "nonsense"}

    settings, problems = parse(environment)

    for text in (repr(settings), str(settings), str(SettingsError(problems))):
        assert "to-hide" not in text


def test_what_a_chart_leaves_empty_is_not_set(environment: dict[str, str]) -> None:
    environment |= {"GEMINI_BASE_URL": "", "CALL_SLOTS": " ", "OTEL_EXPORTER_OTLP_ENDPOINT": ""}

    settings, problems = parse(environment)

    assert problems == []
    assert settings.gemini_base_url is None
    assert settings.call_slots == 4


def test_an_empty_agent_name_means_automatic_dispatch(environment: dict[str, str]) -> None:
    settings, problems = parse(environment | {"AGENT_NAME": ""})

    assert problems == []
    assert settings.agent_name == ""


def test_a_log_level_may_be_written_small(environment: dict[str, str]) -> None:
    assert parse(environment | {"LOG_LEVEL": "debug"})[0].log_level == "DEBUG"


def test_without_a_pod_name_the_host_is_the_pod(environment: dict[str, str]) -> None:
    del environment["POD_NAME"]

    assert parse(environment)[0].pod_name != ""


def test_vertex_ai_needs_a_project_and_no_key(environment: dict[str, str]) -> None:
    del environment["GOOGLE_API_KEY"]
    environment["GOOGLE_GENAI_USE_VERTEXAI"] = "true"

    [problem] = missing_for_gemini(parse(environment)[0])
    assert problem.variable == "GOOGLE_CLOUD_PROJECT"
    assert missing_for_gemini(parse(environment | {"GOOGLE_CLOUD_PROJECT": "p"})[0]) == []


def test_the_developer_api_needs_a_key(environment: dict[str, str]) -> None:
    del environment["GOOGLE_API_KEY"]

    [problem] = missing_for_gemini(parse(environment)[0])
    assert problem.variable == "GOOGLE_API_KEY"
    assert "GOOGLE_GENAI_USE_VERTEXAI=true" in problem.fix
