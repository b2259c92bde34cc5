"""Where spans go, and what they say of the pod."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from google.oauth2.credentials import Credentials
from opentelemetry.exporter.cloud_trace import CloudTraceSpanExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OtlpGrpc
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OtlpHttp

from voice_agent.settings import Settings
from voice_agent.telemetry import traces

MakeSettings = Callable[..., Settings]

OTLP = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def test_without_an_exporter_nothing_is_sent(make_settings: MakeSettings) -> None:
    assert traces.make_exporter(make_settings()) is None


@pytest.mark.parametrize(("protocol", "exporter"), [("http/protobuf", OtlpHttp), ("grpc", OtlpGrpc)])
def test_the_protocol_chooses_the_exporter(make_settings: MakeSettings, protocol: str, exporter: type) -> None:
    made = traces.make_exporter(make_settings(**OTLP, OTEL_EXPORTER_OTLP_PROTOCOL=protocol))

    assert isinstance(made, exporter)


@pytest.mark.filterwarnings("ignore:CloudTraceSpanExporter:DeprecationWarning")
def test_cloud_trace_is_reached_with_the_pods_identity(
    make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Credentials(token="t")  # type: ignore[no-untyped-call]  # noqa: S106 - no token of anything
    monkeypatch.setattr("google.auth.default", lambda **_: (identity, "project-of-the-identity"))

    made = traces.make_exporter(make_settings(OTEL_TRACES_EXPORTER="gcp", GOOGLE_CLOUD_PROJECT="my-project"))

    assert isinstance(made, CloudTraceSpanExporter)
    assert made.project_id == "my-project"


def test_spans_tell_their_pod(make_settings: MakeSettings) -> None:
    attributes = traces.resource(make_settings(POD_NAMESPACE="voice", NODE_NAME="node-1")).attributes

    assert attributes["service.name"] == "voice-agent"
    assert attributes["k8s.pod.name"] == "pod-1"
    assert attributes["k8s.namespace.name"] == "voice"
    assert attributes["k8s.node.name"] == "node-1"


def test_the_operators_name_for_the_service_wins(make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "front-desk")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging")

    attributes = traces.resource(make_settings()).attributes

    assert attributes["service.name"] == "front-desk"
    assert attributes["deployment.environment.name"] == "staging"
