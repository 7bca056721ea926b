"""Traces of a real worker process, as a collector gets them over OTLP."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider

from arqube_local.redis_server import RedisServer
from arqube_worker import tracing
from arqube_worker.spans import CARRIER

TRACED: dict[str, Any] = {"module": "traced_settings", "settings": "Plain"}


@dataclass
class Received:
    """A span, with what stands above it."""

    service: str
    span: Span

    @property
    def attributes(self) -> dict[str, Any]:
        return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in self.span.attributes}


class Collector:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"])))
                for resource in request.resource_spans:
                    names = {each.key: each.value.string_value for each in resource.resource.attributes}
                    for scope in resource.scope_spans:
                        collector.received += [Received(names["service.name"], span) for span in scope.spans]
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_arguments: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def of(self, function: str) -> Received:
        (found,) = [each for each in self.received if each.span.name == function]
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


async def finish(worker: Any) -> None:
    worker.signal()
    assert await worker.exit_code() == 0, worker.text


async def test_a_job_is_a_span_under_its_producers_and_above_the_apps_own(
    start_worker: Any, arq_client: ArqRedis, redis_server: RedisServer, collector: Collector
) -> None:
    worker = start_worker(**TRACED, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    address = redis_server.address
    producer = await create_pool(
        RedisSettings(host=address.host, port=address.port), job_serializer=tracing.with_trace_context()
    )
    with TracerProvider(shutdown_on_exit=False).get_tracer("web").start_as_current_span("request") as request:
        job = await producer.enqueue_job("query")
        assert job is not None
    await job.result(timeout=20, poll_delay=0.02)
    await producer.aclose(close_connection_pool=True)
    await finish(worker)
    outer, inner = collector.of("query"), collector.of("SELECT")
    producers = request.get_span_context()
    assert outer.span.kind == Span.SPAN_KIND_CONSUMER
    assert (outer.span.trace_id, outer.span.parent_span_id) == (
        producers.trace_id.to_bytes(16, "big"),
        producers.span_id.to_bytes(8, "big"),
    )
    assert (inner.span.trace_id, inner.span.parent_span_id) == (outer.span.trace_id, outer.span.span_id)
    assert outer.service == "arqube-worker"
    assert outer.attributes["messaging.message.id"] == job.job_id
    assert outer.attributes["messaging.destination.name"] == "arq:queue"
    assert outer.attributes["arq.job.outcome"] == "succeeded"
    trace_id = outer.span.trace_id.hex()
    of_the_app = next(line for line in worker.lines if line["logger"] == "app")
    assert (of_the_app["trace_id"], of_the_app["span_id"]) == (trace_id, inner.span.span_id.hex())
    for event in ("job started", "job ended"):
        (line,) = worker.logged(event)
        assert (line["trace_id"], line["span_id"]) == (trace_id, outer.span.span_id.hex())


async def test_each_end_of_a_job_shows_in_its_span(
    start_worker: Any, arq_client: ArqRedis, collector: Collector
) -> None:
    worker = start_worker(**TRACED, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    for function, arguments in (("fail", ("no luck",)), ("hasty", (30,)), ("retry_once", (0.01,))):
        job = await arq_client.enqueue_job(function, *arguments)
        assert job is not None
        if function == "retry_once":
            await job.result(timeout=20, poll_delay=0.02)
        else:
            with pytest.raises((ValueError, TimeoutError)):
                await job.result(timeout=20, poll_delay=0.02)
    await finish(worker)
    failed, late = collector.of("fail"), collector.of("hasty")
    assert failed.span.status.message == "ValueError: no luck"
    (event,) = failed.span.events
    assert event.name == "exception"
    assert any("no luck" in each.value.string_value for each in event.attributes if "stacktrace" in each.key)
    assert late.attributes["error.type"].endswith("TimeoutError")
    tries = [each.attributes for each in collector.received if each.span.name == "retry_once"]
    assert [(each["arq.job.try"], each["arq.job.outcome"]) for each in tries] == [(1, "retried"), (2, "succeeded")]


async def test_a_job_that_a_job_enqueues_stays_in_the_trace(
    start_worker: Any, arq_client: ArqRedis, collector: Collector, eventually: Any
) -> None:
    worker = start_worker(**TRACED, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    assert await arq_client.enqueue_job("fan_out") is not None
    await eventually(lambda: len(worker.logged("job ended")) == 2)
    await finish(worker)
    first, second = collector.of("fan_out").span, collector.of("note").span
    assert (second.trace_id, second.parent_span_id) == (first.trace_id, first.span_id)
    assert not first.parent_span_id


async def test_a_producer_under_the_instrumentation_of_arq_needs_nothing_else(
    start_worker: Any, arq_client: ArqRedis, collector: Collector
) -> None:
    """opentelemetry-instrumentation-arq sends the context as an argument, which only its own workers take out."""
    worker = start_worker(**TRACED, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
    carrier = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    job = await arq_client.enqueue_job("note", "hello", **{CARRIER: carrier})
    asked = await arq_client.enqueue_job("handed_on", **{CARRIER: carrier})
    assert job is not None
    assert asked is not None
    assert await job.result(timeout=20, poll_delay=0.02) == "hello"
    assert await asked.result(timeout=20, poll_delay=0.02) == carrier
    await finish(worker)
    for function in ("note", "handed_on"):
        assert collector.of(function).span.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize("plain", [pytest.param(True, id="arq's"), pytest.param(False, id="ours, not tracing")])
async def test_a_worker_that_does_not_trace_runs_traced_jobs(
    start_worker: Any, arq_client: ArqRedis, plain: bool
) -> None:
    worker = start_worker(plain=plain)
    arq_client.job_serializer = tracing.with_trace_context()
    with TracerProvider(shutdown_on_exit=False).get_tracer("web").start_as_current_span("request"):
        job = await arq_client.enqueue_job("note", "hello")
    assert job is not None
    assert await job.result(timeout=20, poll_delay=0.02) == "hello"
    assert "traced" not in worker.text


async def test_an_apps_own_provider_is_the_one(start_worker: Any, arq_client: ArqRedis, collector: Collector) -> None:
    elsewhere = f"http://127.0.0.1:{socket_without_server()}"
    worker = start_worker(
        module="traced_settings",
        settings="OwnProvider",
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": elsewhere, "APP_TRACES": f"{collector.url}/v1/traces"},
    )
    job = await arq_client.enqueue_job("query")
    assert job is not None
    await job.result(timeout=20, poll_delay=0.02)
    await finish(worker)
    outer, inner = collector.of("query"), collector.of("SELECT")
    assert (outer.service, inner.service) == ("the-app", "the-app")
    assert inner.span.parent_span_id == outer.span.span_id
    assert "Overriding" not in worker.text


async def test_a_collector_that_is_away_neither_holds_up_jobs_nor_the_stop(
    start_worker: Any, arq_client: ArqRedis
) -> None:
    """One that takes connections and never answers is the worst."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        worker = start_worker(
            **TRACED, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        )
        job = await arq_client.enqueue_job("note", "hello")
        assert job is not None
        assert await job.result(timeout=20, poll_delay=0.02) == "hello"
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        assert await worker.exit_code() == 0
    assert time.monotonic() - began < tracing.FLUSH_S + 3
    assert worker.logged("the last spans were not sent in time")


async def test_a_missing_package_is_told_once_and_stops_nothing(
    start_worker: Any, arq_client: ArqRedis, tmp_path: Path
) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError('no such package')\n")
    worker = start_worker(
        environment={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "PYTHONPATH": str(tmp_path)}
    )
    job = await arq_client.enqueue_job("note", "hello")
    assert job is not None
    assert await job.result(timeout=20, poll_delay=0.02) == "hello"
    (warning,) = worker.logged("jobs are not traced")
    assert "arqube[otel]" in warning["reason"]
    assert warning["level"] == "warning"


def socket_without_server() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
