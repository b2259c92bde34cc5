"""Spans: one tracer provider per process, an exporter by one setting, nothing lost when a process ends."""

from __future__ import annotations

import logging
from multiprocessing.util import Finalize

from livekit.agents.telemetry import set_tracer_provider
from opentelemetry import trace
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from voice_agent import __version__
from voice_agent.settings import OtlpProtocol, Settings, TracesExporter

logger = logging.getLogger(__name__)

tracer = trace.get_tracer("voice_agent", __version__)

# An exporter that hangs must not keep a call's slot, or a drained pod, for longer than this.
EXPORT_TIMEOUT_SECONDS = 5


def start(settings: Settings) -> None:
    """Send this process's spans, LiveKit's and ours, to the exporter that the settings name.

    Without an exporter there are spans all the same: log lines carry their IDs.

    Call it once per process, before the first span; in a job process that is the server's `setup_fnc`,
    because the entrypoint already runs inside the job's root span.
    """
    provider = TracerProvider(resource=resource(settings))
    if exporter := make_exporter(settings):
        provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_TIMEOUT_SECONDS * 1000))
    trace.set_tracer_provider(provider)
    set_tracer_provider(provider)
    # Processes that the forkserver makes skip atexit, where the provider would flush.
    Finalize(None, provider.shutdown, exitpriority=100)


def make_exporter(settings: Settings) -> SpanExporter | None:
    """The exporter that the settings name; None for none.

    Only the exporter in use is imported: they are slow to import and have large dependencies.
    """
    match settings.traces_exporter, settings.otlp_protocol:
        case TracesExporter.OTLP, OtlpProtocol.HTTP:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OtlpHttp

            return OtlpHttp(timeout=EXPORT_TIMEOUT_SECONDS)
        case TracesExporter.OTLP, OtlpProtocol.GRPC:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OtlpGrpc

            return OtlpGrpc(timeout=EXPORT_TIMEOUT_SECONDS)
        case TracesExporter.GCP, _:
            from opentelemetry.exporter.cloud_trace import CloudTraceSpanExporter

            return CloudTraceSpanExporter(  # type: ignore[no-untyped-call]
                project_id=settings.google_cloud_project, resource_regex="service.*|k8s.*"
            )
        case _:
            return None


def resource(settings: Settings) -> Resource:
    """What all spans of this process share; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over it."""
    known = {
        "service.name": "voice-agent",
        "service.version": __version__,
        "service.instance.id": settings.pod_name,
        "k8s.pod.name": settings.pod_name,
        "k8s.namespace.name": settings.pod_namespace,
        "k8s.node.name": settings.node_name,
    }
    ours = Resource({name: value for name, value in known.items() if value is not None})
    from_environment = OTELResourceDetector().detect()
    return Resource.create().merge(ours).merge(from_environment)
