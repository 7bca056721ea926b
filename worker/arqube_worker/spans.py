"""Makes the spans of jobs, by OpenTelemetry's conventions for messaging. Imported only when jobs are traced.

Source: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
"""

from __future__ import annotations

import asyncio
import inspect
import pickle
import time
from collections.abc import Callable
from contextvars import Token
from importlib.metadata import version
from typing import Any, Final

from opentelemetry import context, propagate, trace
from opentelemetry.trace import Span, SpanKind, StatusCode, TracerProvider

from arqube_worker import logs
from arqube_worker.runs import Cause, Outcome, Run
from arqube_worker.tracing import ENVELOPE

CARRIER: Final = "_carrier"
"""The keyword argument in which ``opentelemetry-instrumentation-arq`` lets a job carry its producer's context."""

_NEVER_STARTED: Final = {
    Outcome.TRIES_EXHAUSTED: "its tries are used up",
    Outcome.UNKNOWN_FUNCTION: "no worker knows its function",
}
"""Ends without a start that a trace tells, too."""

logger = logs.get_logger(__name__)


class Spans:
    """Makes spans with a tracer of ``provider``.

    Attributes:
        flush: Sends what is left; may take its time, and raise.
    """

    def __init__(
        self, provider: TracerProvider, *, worker: str, queue: str, flush: Callable[[], object] | None
    ) -> None:
        self.flush: Callable[[], object] = flush or (lambda: None)
        self._tracer = provider.get_tracer("arqube_worker", version("arqube"))
        self._always = {
            "messaging.system": "arq",
            "messaging.destination.name": queue,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.client.id": worker,
        }

    def reading(self, deserializer: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
        """arq's ``job_deserializer`` that puts the payload's trace context to where the instrumentation's is."""
        load = deserializer or pickle.loads

        def deserialize(payload: bytes) -> Any:
            document = load(payload)
            if type(document) is dict and ENVELOPE in document:
                document["k"][CARRIER] = document[ENVELOPE]
            return document

        return deserialize

    def of(self, run: Run, coroutine: Callable[..., Any] | None, kwargs: dict[Any, Any]) -> JobSpan:
        """The span of a run, which is still to begin; takes the producer's context out of the job's arguments."""
        carrier = kwargs.get(CARRIER)
        if not isinstance(carrier, dict):
            return JobSpan(self, run, {})
        if coroutine is None or CARRIER not in inspect.signature(coroutine).parameters:  # some apps ask for it
            del kwargs[CARRIER]
        texts = {name: value for name, value in carrier.items() if isinstance(name, str) and isinstance(value, str)}
        return JobSpan(self, run, texts)

    def start(self, run: Run, parent: context.Context) -> Span:
        """Begin a span."""
        attributes: dict[str, Any] = {
            **self._always,
            "messaging.message.id": run.lease.job_id,
            "arq.job.name": run.function,
            "arq.job.try": run.attempt,
        }
        if run.wait_s is not None and run.score > 1:  # arq moves a job to score 1 to abort it: no due time
            attributes["arq.job.wait_s"] = run.wait_s
        started_at = run.started_at or time.time()
        return self._tracer.start_span(
            run.function or "unknown", parent, SpanKind.CONSUMER, attributes, start_time=int(started_at * 1e9)
        )


class JobSpan:
    """The span of one run. Nothing that goes wrong in it is the job's business."""

    __slots__ = ("_carrier", "_error", "_run", "_span", "_spans", "_token")

    def __init__(self, spans: Spans, run: Run, carrier: dict[str, str]) -> None:
        self._spans = spans
        self._run = run
        self._carrier = carrier
        self._span: Span | None = None
        self._token: Token[context.Context] | None = None
        self._error: BaseException | None = None

    def names(self) -> dict[str, str]:
        """What log lines say: the trace, and the innermost of its spans that is current."""
        if self._span is None or not (own := self._span.get_span_context()).is_valid:
            return {}
        current = trace.get_current_span().get_span_context()
        innermost = current if current.trace_id == own.trace_id else own
        return {"trace_id": trace.format_trace_id(own.trace_id), "span_id": trace.format_span_id(innermost.span_id)}

    def begin(self) -> None:
        """The job's code begins, in this task: the span is the current one for it, as is the producer's baggage."""
        try:
            parent = propagate.extract(self._carrier)
            self._span = self._spans.start(self._run, parent)
            self._token = context.attach(trace.set_span_in_context(self._span, parent))
        except Exception:
            logger.exception("the span of a job could not be begun")

    def leave(self, error: BaseException | None) -> None:
        """The job's code is over; what follows in its task is not part of it."""
        self._error = error
        if self._token is not None:
            context.detach(self._token)
            self._token = None

    def end(self, outcome: Outcome) -> None:
        """Redis knows how the run ended."""
        try:
            if self._span is None:
                if outcome not in _NEVER_STARTED:
                    return
                self._span = self._spans.start(self._run, propagate.extract(self._carrier))
            try:
                if self._span.is_recording():
                    self._span.set_attribute("arq.job.outcome", outcome.value)
                    self._tell_failure(self._span, outcome)
            finally:
                ended_at = self._run.ended_at
                self._span.end(None if ended_at is None else int(ended_at * 1e9))
        except Exception:
            logger.exception("the span of a job could not be ended")

    def _tell_failure(self, span: Span, outcome: Outcome) -> None:
        error = self._error
        if outcome is Outcome.FAILED and error is not None:
            if self._run.cause is Cause.TIMEOUT and isinstance(error, asyncio.CancelledError):
                error = asyncio.TimeoutError().with_traceback(error.__traceback__)
            kind = type(error)
            name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
            span.set_attribute("error.type", name)
            span.set_status(StatusCode.ERROR, kind.__name__)  # should the error's own text fail
            span.set_status(StatusCode.ERROR, f"{kind.__name__}: {error}")
            span.record_exception(error)
        elif outcome is Outcome.LEASE_LOST or outcome in _NEVER_STARTED:
            span.set_attribute("error.type", outcome.value)
            span.set_status(StatusCode.ERROR, _NEVER_STARTED.get(outcome, "another worker holds the job"))
