"""Whether jobs are traced, where their spans go, and how a producer's trace context travels with a job.

Tracing is on when the app has set an OpenTelemetry ``TracerProvider`` by the end of ``on_startup``, whose it stays, or
when OpenTelemetry's own variables ask for an exporter. Else nothing of OpenTelemetry is imported.
"""

from __future__ import annotations

import asyncio
import pickle
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from arqube_worker.spans import Spans

ENVELOPE: Final = "otel"
"""Where a payload carries trace context, beside arq's own entries: whoever does not know it does not see it."""
FLUSH_S: Final = 3.0
"""How long a stopping worker waits for its last spans to be sent."""

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PACKAGES: Final = "opentelemetry-sdk and opentelemetry-exporter-otlp-proto-http (the extra arqube[otel])"
_EXPORTERS: Final = "opentelemetry_traces_exporter"
"""Entry points of packages with exporters, as OpenTelemetry's own set-up finds them."""

Serializer = Callable[[dict[str, Any]], bytes]


class TracingError(Exception):
    """What the variables ask for cannot be had; the message says what to do."""


def with_trace_context(serializer: Serializer | None = None) -> Serializer:
    """Let jobs carry the trace context they are enqueued in: for the ``job_serializer`` of arq's ``create_pool``.

    It becomes an entry of the payload beside arq's own ones, which arq's workers do not look at; no call is added.

    Args:
        serializer: What else would be the ``job_serializer``; pickle, as with arq, when it is None.
    """
    write: Serializer = serializer or pickle.dumps

    def serialize(document: dict[str, Any]) -> bytes:
        if "s" in document:  # a job's result
            return write(document)
        from opentelemetry.propagate import inject

        carrier: dict[str, str] = {}
        inject(carrier)
        return write({**document, ENVELOPE: carrier} if carrier else document)

    return serialize


def exporters(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The exporters that OpenTelemetry's variables ask for; none without an end point or a name, as off is the default.

    Source: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
    """
    if is_disabled(environ):
        return ()
    names = tuple(name.strip() for name in environ.get("OTEL_TRACES_EXPORTER", "").split(",") if name.strip())
    if not names:
        return ("otlp",) if any(environ.get(name) for name in _ENDPOINTS) else ()
    return () if "none" in names else names


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Whether ``OTEL_SDK_DISABLED`` says so."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def wish(environ: Mapping[str, str]) -> str:
    """What the variables ask for, in words. The app may set a provider at its start, which nobody can tell before."""
    if is_disabled(environ):
        return "off, by OTEL_SDK_DISABLED"
    names = exporters(environ)
    return f"sent by {', '.join(names)}" if names else "off, unless the app sets a provider of its own"


def start(environ: Mapping[str, str], *, worker: str, queue: str) -> Spans | None:
    """Trace jobs from now on, if somebody wants it; to be called once the app has had its chance to set a provider.

    Args:
        environ: OpenTelemetry's variables; its SDK reads its own ones from the process's.
        worker: Name of the worker.
        queue: Name of the queue.

    Returns:
        What makes the spans; None when jobs are not traced.

    Raises:
        TracingError: The variables ask for what cannot be had.
    """
    if is_disabled(environ):
        return None
    try:
        provider = _apps_provider()
        flush = getattr(provider, "force_flush", None)
        if provider is None:
            names = exporters(environ)
            if not names:
                return None
            provider = _set_provider(names, environ, worker)
            flush = provider.shutdown
        from arqube_worker.spans import Spans

        return Spans(provider, worker=worker, queue=queue, flush=flush)
    except TracingError:
        raise
    except Exception as error:  # variables that it cannot use, packages that do not go together
        raise TracingError(f"OpenTelemetry cannot be set up: {type(error).__name__}: {error}") from error


def _apps_provider() -> Any:
    trace: Any = sys.modules.get("opentelemetry.trace")
    provider = None if trace is None else trace.get_tracer_provider()
    return None if trace is None or isinstance(provider, trace.ProxyTracerProvider) else provider


def _set_provider(names: tuple[str, ...], environ: Mapping[str, str], worker: str) -> Any:
    try:
        from opentelemetry import trace
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingError(f"install {_PACKAGES} in the image of the workers ({error})") from error
    made = [_exporter(name, environ) for name in names]
    names_of_worker = {"service.name": "arqube-worker", "service.instance.id": worker}
    resource = Resource.create({**names_of_worker, **OTELResourceDetector().detect().attributes})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)  # it is shut down within a time of ours
    for exporter in made:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


def _exporter(name: str, environ: Mapping[str, str]) -> Any:
    found = {point.name: point for point in entry_points(group=_EXPORTERS)}
    wanted = [name]
    if name == "otlp":
        protocol = next((environ[each] for each in _PROTOCOLS if environ.get(each)), None)
        # Without a protocol whichever is there, and of both the specification's default.
        wanted = list(_OTLP.values()) if protocol is None else [_OTLP.get(protocol, protocol)]
    point = next((found[each] for each in wanted if each in found), None)
    if point is None:
        package = _PACKAGES if _OTLP["http/protobuf"] in wanted else "its package"
        raise TracingError(f"install {package} in the image of the workers: there is no exporter {wanted[0]!r}")
    return point.load()()


async def flush(spans: Spans) -> bool:
    """Send the spans that are left, within ``FLUSH_S``.

    Returns:
        Whether that was done in time.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def send() -> None:
        with suppress(Exception):
            spans.flush()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(done.set)

    # No thread of the loop's: those are waited for at its end.
    threading.Thread(target=send, name="arqube-spans", daemon=True).start()
    try:
        await asyncio.wait_for(done.wait(), FLUSH_S)
    except asyncio.TimeoutError:
        return False
    return True
