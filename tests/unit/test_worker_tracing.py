"""When jobs are traced, and how the last spans leave a worker."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import TracerProvider

from arqube_worker import tracing
from arqube_worker.spans import Spans

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COLLECTOR = "http://collector:4318"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({}, (), id="off by default"),
        pytest.param({ENDPOINT: COLLECTOR}, ("otlp",), id="an end point asks for OTLP"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": COLLECTOR}, ("otlp",), id="an end point for traces asks for OTLP"
        ),
        pytest.param({ENDPOINT: ""}, (), id="an empty variable is none"),
        pytest.param({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp",), id="an exporter's name alone asks for it"),
        pytest.param({"OTEL_TRACES_EXPORTER": "otlp, console"}, ("otlp", "console"), id="two exporters"),
        pytest.param({ENDPOINT: COLLECTOR, "OTEL_TRACES_EXPORTER": "none"}, (), id="none beats the end point"),
        pytest.param({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "TRUE"}, (), id="disabled beats the end point"),
        pytest.param({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "false"}, ("otlp",), id="not disabled"),
        pytest.param({"OTEL_SERVICE_NAME": "mail"}, (), id="a service's name asks for nothing"),
    ],
)
def test_the_variables_say_which_exporters_are_wanted(environ: dict[str, str], expected: tuple[str, ...]) -> None:
    assert tracing.exporters(environ) == expected


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        pytest.param(
            {ENDPOINT: COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "its package.*'otlp_proto_grpc'",
            id="a protocol whose exporter is not installed",
        ),
        pytest.param({"OTEL_TRACES_EXPORTER": "zipkin"}, "its package.*'zipkin'", id="an exporter that is not there"),
        pytest.param(
            {ENDPOINT: COLLECTOR, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"},
            "cannot be set up: ValueError",
            id="a variable that its SDK refuses",
        ),
    ],
)
def test_what_cannot_be_had_is_named(environ: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ.items():  # the SDK reads its variables itself
        monkeypatch.setenv(name, value)
    with pytest.raises(tracing.TracingError, match=words):
        tracing.start(environ, worker="pod-1", queue="arq:queue")


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({}, id="nobody asks"),
        pytest.param({ENDPOINT: COLLECTOR, "OTEL_SDK_DISABLED": "true"}, id="disabled"),
    ],
)
def test_jobs_are_not_traced_unless_wanted(environ: dict[str, str]) -> None:
    assert tracing.start(environ, worker="pod-1", queue="arq:queue") is None


async def test_the_last_spans_are_waited_for_but_not_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(tracing, "FLUSH_S", 0.05)

    def flushing(flush: Callable[[], object]) -> Spans:
        return Spans(provider, worker="pod-1", queue="arq:queue", flush=flush)

    def fail() -> None:
        raise RuntimeError("no network")

    blocked = threading.Event()
    assert await tracing.flush(flushing(lambda: None))
    assert await tracing.flush(flushing(fail)), "a failure is an end, too"
    assert not await tracing.flush(flushing(blocked.wait))
    blocked.set()
