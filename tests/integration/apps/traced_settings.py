"""Apps that know OpenTelemetry: spans of their own within jobs, and a provider of their own."""

import logging
import os
from typing import Any

import worker_settings
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

logger = logging.getLogger("app")


async def query(ctx: dict[str, Any]) -> None:
    """Make a span, as an instrumented database driver does."""
    with trace.get_tracer("app").start_as_current_span("SELECT"):
        logger.info("asking the database")


async def fan_out(ctx: dict[str, Any]) -> str:
    """Enqueue a job from within a job."""
    job = await ctx["redis"].enqueue_job("note", "from within")
    return str(job.job_id)


async def handed_on(ctx: dict[str, Any], _carrier: dict[str, str] | None = None) -> dict[str, str] | None:
    """Ask for the context itself, as apps do that hand it on."""
    return _carrier


class Plain(worker_settings.Base):
    functions = (*worker_settings.FUNCTIONS, query, fan_out, handed_on)


def own_provider() -> TracerProvider:
    provider = TracerProvider(resource=Resource({"service.name": "the-app"}))
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=os.environ["APP_TRACES"])))
    return provider


async def set_provider(ctx: dict[str, Any]) -> None:
    trace.set_tracer_provider(own_provider())


class OwnProvider(Plain):
    on_startup = set_provider
