"""What the worker's series say, and that they stay few."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from arqube_queue.turns import Lease
from arqube_worker.metrics import Metrics
from arqube_worker.runs import Outcome, Run


def described() -> tuple[CollectorRegistry, Metrics]:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.describe(worker="emails-1", queue="arq:queue", slots=10, functions=("send",), busy=lambda: 0)
    return registry, metrics


@pytest.mark.parametrize(
    ("outcome", "death", "counted"),
    [
        pytest.param(Outcome.FAILED, "failed", 1, id="it raised an error"),
        pytest.param(Outcome.FAILED, "timeout", 1, id="its time was up"),
        pytest.param(Outcome.UNKNOWN_FUNCTION, "unknown_function", 1, id="no worker knew its function for long"),
        pytest.param(Outcome.PUT_BACK, "unknown_function", 0, id="another worker may know its function"),
        pytest.param(Outcome.LEASE_LOST, "failed", 0, id="it failed here, but another worker holds it"),
    ],
)
def test_a_dead_letter_is_counted_by_its_reason_once_it_is_written(outcome: Outcome, death: str, counted: int) -> None:
    registry, metrics = described()
    metrics.ended(Run(Lease("1", b"1000", 1, "token"), function="send", death=death), outcome)
    assert registry.get_sample_value("arqube_worker_dead_letters_total", {"reason": death}) == counted


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "retried", "returned", "put_back", "lease_lost"])
def test_a_rate_sees_the_first_job_of_an_outcome(outcome: str) -> None:
    registry, _ = described()
    labels = {"function": "send", "outcome": outcome}
    assert registry.get_sample_value("arqube_worker_jobs_total", labels) == 0


def test_what_goes_wrong_with_redis_and_each_turn_are_counted() -> None:
    registry, metrics = described()
    metrics.redis_errors += 2
    metrics.turns += 3
    assert registry.get_sample_value("arqube_worker_redis_errors_total") == 2
    assert registry.get_sample_value("arqube_worker_turns_total") == 3


def test_functions_that_the_worker_does_not_have_share_one_series() -> None:
    registry, metrics = described()
    for number in range(50):
        run = Run(Lease("1", b"1000", 1, "token"), function=f"made-up-{number}", death="unknown_function")
        metrics.ended(run, Outcome.UNKNOWN_FUNCTION)
    functions = {
        sample.labels["function"]
        for metric in registry.collect()
        for sample in metric.samples
        if "function" in sample.labels
    }
    assert functions == {"send", "unknown"}
