"""What the spans of jobs say, and how a producer's context travels to them."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from arq.jobs import deserialize_job_raw, deserialize_result, serialize_job, serialize_result
from opentelemetry import baggage, propagate, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from arqube_queue.payload import read_header
from arqube_queue.turns import Lease
from arqube_worker import logs, tracing
from arqube_worker.runs import Cause, Outcome, Run
from arqube_worker.serializers import (
    json_deserializer,
    json_serializer,
    msgpack_deserializer,
    msgpack_serializer,
)
from arqube_worker.spans import CARRIER, Spans

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
PARENT_TRACE = 0x0AF7651916CD43DD8448EB211C80319C
SERIALIZERS = pytest.mark.parametrize(
    ("write", "read"),
    [
        pytest.param(None, None, id="pickle"),
        pytest.param(json_serializer, json_deserializer, id="json"),
        pytest.param(msgpack_serializer, msgpack_deserializer, id="msgpack"),
    ],
)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def spans(provider: TracerProvider) -> Spans:
    return Spans(provider, worker="pod-1", queue="arq:mail", flush=provider.force_flush)


def a_run(spans: Spans, kwargs: dict[str, Any] | None = None, *, started: bool = True) -> Run:
    """One that was due 2 s before it starts."""
    now = time.time()
    run = Run(Lease("job-1", str((now - 2) * 1000).encode(), 1, b"pod-1", b"", False), function="send", attempt=3)
    run.started_at = now if started else None
    run.span = spans.of(run, None, {} if kwargs is None else kwargs)
    return run


def span_of(run: Run, exporter: InMemorySpanExporter, error: BaseException | None, outcome: Outcome) -> ReadableSpan:
    assert run.span is not None
    run.span.begin()
    run.ended_at = time.time()
    run.span.leave(error)
    run.span.end(outcome)
    (span,) = exporter.get_finished_spans()
    return span


def test_a_span_says_what_ran(spans: Spans, exporter: InMemorySpanExporter) -> None:
    run = a_run(spans)
    span = span_of(run, exporter, None, Outcome.SUCCEEDED)
    assert (span.name, span.kind, span.parent) == ("send", SpanKind.CONSUMER, None)
    attributes = dict(span.attributes or {})
    assert 2 <= float(str(attributes.pop("arq.job.wait_s"))) < 3
    assert attributes == {
        "messaging.system": "arq",
        "messaging.destination.name": "arq:mail",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.client.id": "pod-1",
        "messaging.message.id": "job-1",
        "arq.job.name": "send",
        "arq.job.try": 3,
        "arq.job.outcome": "succeeded",
    }
    assert run.started_at is not None
    assert run.ended_at is not None
    assert (span.start_time, span.end_time) == (int(run.started_at * 1e9), int(run.ended_at * 1e9))
    assert span.status.status_code is StatusCode.UNSET


class MailError(Exception):
    pass


class SilentError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "cause", "outcome", "kind", "status"),
    [
        pytest.param(ValueError("no luck"), None, Outcome.FAILED, "ValueError", "ValueError: no luck", id="it failed"),
        pytest.param(
            MailError("refused"),
            None,
            Outcome.FAILED,
            f"{__name__}.MailError",
            "MailError: refused",
            id="an error of the app's",
        ),
        pytest.param(
            asyncio.CancelledError(),
            Cause.TIMEOUT,
            Outcome.FAILED,
            f"{asyncio.TimeoutError.__module__}.TimeoutError".removeprefix("builtins."),
            "TimeoutError: ",
            id="its time was up",
        ),
        pytest.param(
            asyncio.CancelledError(),
            Cause.LEASE_LOST,
            Outcome.LEASE_LOST,
            "lease_lost",
            "another worker holds the job",
            id="another worker took it",
        ),
        pytest.param(RuntimeError("again"), None, Outcome.RETRIED, None, None, id="a retry is no failure"),
        pytest.param(
            asyncio.CancelledError(), Cause.STOP, Outcome.RETURNED, None, None, id="a job given back is no failure"
        ),
        pytest.param(
            asyncio.CancelledError(), Cause.ABORT, Outcome.ABORTED, None, None, id="an aborted job is no failure"
        ),
    ],
)
def test_a_failure_shows_in_the_status(
    spans: Spans,
    exporter: InMemorySpanExporter,
    error: BaseException,
    cause: Cause | None,
    outcome: Outcome,
    kind: str | None,
    status: str | None,
) -> None:
    run = a_run(spans)
    run.cause = cause
    span = span_of(run, exporter, error, outcome)
    attributes = span.attributes or {}
    assert (attributes["arq.job.outcome"], attributes.get("error.type")) == (outcome.value, kind)
    assert (span.status.status_code is StatusCode.ERROR, span.status.description) == (status is not None, status)
    recorded = [(event.attributes or {})["exception.type"] for event in span.events]
    assert recorded == ([kind] if outcome is Outcome.FAILED else [])


def test_an_error_that_cannot_be_told_ends_no_worker(spans: Spans, exporter: InMemorySpanExporter) -> None:
    run = a_run(spans)
    assert run.span is not None
    run.span.begin()
    run.span.leave(SilentError())
    run.span.end(Outcome.FAILED)
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        pytest.param(Outcome.TRIES_EXHAUSTED, True, id="its tries were used up"),
        pytest.param(Outcome.UNKNOWN_FUNCTION, True, id="no worker knew its function"),
        pytest.param(Outcome.PUT_BACK, False, id="it was put back for another worker"),
        pytest.param(Outcome.RETURNED, False, id="the worker stopped"),
        pytest.param(Outcome.ABORTED, False, id="it was aborted"),
    ],
)
def test_a_job_that_never_started_has_a_span_when_that_is_its_end(
    spans: Spans, exporter: InMemorySpanExporter, outcome: Outcome, told: bool
) -> None:
    run = a_run(spans, {CARRIER: {"traceparent": PARENT}}, started=False)
    assert run.span is not None
    run.span.end(outcome)
    found = exporter.get_finished_spans()
    assert len(found) == told
    for span in found:
        assert (span.status.status_code, span.context.trace_id) == (StatusCode.ERROR, PARENT_TRACE)


@pytest.mark.parametrize(
    ("carrier", "trace_id"),
    [
        pytest.param({"traceparent": PARENT}, PARENT_TRACE, id="its producer was traced"),
        pytest.param(None, None, id="its producer was not"),
        pytest.param({"traceparent": "nonsense"}, None, id="its producer's context is broken"),
        pytest.param({"traceparent": 5, 6: "x"}, None, id="its producer's context is no text"),
        pytest.param("text", None, id="the argument is something else"),
    ],
)
def test_a_span_is_a_child_of_its_producers(
    spans: Spans, exporter: InMemorySpanExporter, carrier: Any, trace_id: int | None
) -> None:
    span = span_of(a_run(spans, {} if carrier is None else {CARRIER: carrier}), exporter, None, Outcome.SUCCEEDED)
    assert (None if span.parent is None else span.parent.trace_id) == trace_id


async def _with_it(ctx: Any, _carrier: Any = None) -> None: ...


async def _without_it(ctx: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("coroutine", "value", "left"),
    [
        pytest.param(_without_it, {"traceparent": PARENT}, False, id="is taken out before the call"),
        pytest.param(_with_it, {"traceparent": PARENT}, True, id="stays where the function asks for it"),
        pytest.param(_without_it, "text", True, id="stays when it is the app's own"),
        pytest.param(None, {"traceparent": PARENT}, False, id="is taken out when there is no such function"),
    ],
)
def test_the_instrumentations_argument(
    spans: Spans, coroutine: Callable[..., Any] | None, value: Any, left: bool
) -> None:
    kwargs = {"to": "you", CARRIER: value}
    spans.of(Run(Lease("job-1", b"1", 1, b"pod-1", b"", False)), coroutine, kwargs)
    assert kwargs == ({"to": "you", CARRIER: value} if left else {"to": "you"})


def test_the_jobs_span_is_current_for_its_code_alone(
    spans: Spans, provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    run = a_run(spans, {CARRIER: {"traceparent": PARENT, "baggage": "tenant=blue"}})
    assert run.span is not None
    assert run.span.names() == {}, "it has not begun"
    run.span.begin()
    own = trace.get_current_span().get_span_context()
    names = logs.names_of(run)
    assert (names["trace_id"], names["span_id"]) == (f"{PARENT_TRACE:032x}", f"{own.span_id:016x}")
    assert baggage.get_baggage("tenant") == "blue"
    with provider.get_tracer("app").start_as_current_span("query") as inner:
        assert inner.parent == own  # type: ignore[attr-defined]
        assert logs.names_of(run)["span_id"] == f"{inner.get_span_context().span_id:016x}"
    run.span.leave(None)
    assert not trace.get_current_span().get_span_context().is_valid
    assert baggage.get_baggage("tenant") is None
    assert logs.names_of(run)["span_id"] == f"{own.span_id:016x}", "also when the job's code is over"
    run.span.end(Outcome.SUCCEEDED)
    assert [span.name for span in exporter.get_finished_spans()] == ["query", "send"]


class _BrokenPropagator:
    fields: frozenset[str] = frozenset()

    def extract(self, *_args: Any, **_named: Any) -> Any:
        raise RuntimeError("broken")

    inject = extract


@pytest.fixture
def broken_propagator() -> Iterator[None]:
    former = propagate.get_global_textmap()
    propagate.set_global_textmap(_BrokenPropagator())  # type: ignore[arg-type]
    yield
    propagate.set_global_textmap(former)


@pytest.mark.usefixtures("broken_propagator")
def test_a_propagator_that_fails_hinders_no_job(spans: Spans, exporter: InMemorySpanExporter) -> None:
    run = a_run(spans)
    assert run.span is not None
    run.span.begin()
    run.span.leave(None)
    run.span.end(Outcome.SUCCEEDED)
    assert exporter.get_finished_spans() == ()


@SERIALIZERS
def test_context_travels_beside_arqs_own_entries(
    spans: Spans, provider: TracerProvider, exporter: InMemorySpanExporter, write: Any, read: Any
) -> None:
    serializer = tracing.with_trace_context(write)
    with provider.get_tracer("app").start_as_current_span("request") as request:
        payload = serialize_job("send", ("you",), {"subject": "hi"}, 2, 1_700_000_000_000, serializer=serializer)
    plain = deserialize_job_raw(payload, deserializer=read)
    assert plain == ("send", ("you",), {"subject": "hi"}, 2, 1_700_000_000_000), "plain arq sees nothing of it"
    header = read_header(payload)
    assert (header.function, header.tries, header.enqueued_ms) == ("send", 2, 1_700_000_000_000)
    kwargs = deserialize_job_raw(payload, deserializer=spans.reading(read))[2]
    run = a_run(spans, kwargs)
    assert kwargs == {"subject": "hi"}
    exporter.clear()
    span = span_of(run, exporter, None, Outcome.SUCCEEDED)
    assert span.parent is not None
    assert (span.parent.trace_id, span.parent.span_id) == (
        request.get_span_context().trace_id,
        request.get_span_context().span_id,
    )


@SERIALIZERS
def test_what_is_written_outside_of_a_trace_is_arqs_own(write: Any, read: Any) -> None:
    arguments = ("send", ("you",), {}, None, 5)
    written = serialize_job(*arguments, serializer=tracing.with_trace_context(write))
    assert written == serialize_job(*arguments, serializer=write or pickle.dumps)


def test_results_carry_no_context(provider: TracerProvider) -> None:
    arguments = ("send", (), {}, 1, 5, True, "sent", 6, 7, "ref", "arq:queue", "job-1")
    with provider.get_tracer("app").start_as_current_span("request"):
        written = serialize_result(*arguments, serializer=tracing.with_trace_context())
    assert written is not None
    assert tracing.ENVELOPE not in pickle.loads(written)  # noqa: S301
    assert deserialize_result(written).result == "sent"


def test_what_is_read_may_be_anything(spans: Spans) -> None:
    assert spans.reading(None)(pickle.dumps([1, 2])) == [1, 2]
