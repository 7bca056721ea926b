"""Sharing: what is equal is kept once, and nothing else about it changes."""

from __future__ import annotations

from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import TaskQueueSpec, TaskQueueStatus
from arqube_operator.observe.sharing import shared

WORKER = {"image": "app:1", "settings": "app.WorkerSettings"}


def spec(host: str = "redis", **worker: Any) -> TaskQueueSpec:
    body = {"redis": {"host": host}, "worker": {**WORKER, **worker}}
    return TaskQueueSpec.model_validate(body, by_alias=True, by_name=False)


def test_equal_specs_are_one() -> None:
    first, second = spec(), spec()
    assert first is not second
    assert shared(first) is shared(second)


def test_equal_parts_of_different_specs_are_one() -> None:
    first, second = shared(spec("one")), shared(spec("two"))
    assert first.worker is second.worker
    assert (first.redis.host, second.redis.host) == ("one", "two")


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(spec(), id="only what must be given"),
        pytest.param(spec(concurrency=10), id="a default, given"),
        pytest.param(spec(podTemplate={"spec": {"containers": [{"name": "worker", "tty": True}]}}), id="free fields"),
        pytest.param(
            spec(podTemplate={"spec": {"containers": [{"name": "worker", "tty": 1}]}}), id="free fields, 1 for true"
        ),
    ],
)
def test_what_is_shared_is_written_as_before(one: TaskQueueSpec) -> None:
    written = one.model_dump_json(by_alias=True, exclude_unset=True)
    assert shared(one) == one
    assert shared(one).model_dump_json(by_alias=True, exclude_unset=True) == written


def test_a_default_that_is_given_is_not_taken_for_one_that_is_not() -> None:
    assert shared(spec(concurrency=10)).worker.model_fields_set != shared(spec()).worker.model_fields_set


def test_conditions_of_different_statuses_are_one() -> None:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "the queue is read and its workers take jobs",
        "lastTransitionTime": "2026-01-05T00:00:04Z",
        "observedGeneration": 1,
    }
    first, second = (
        shared(
            TaskQueueStatus.model_validate({"replicas": count, "conditions": [condition]}, by_alias=True, by_name=False)
        )
        for count in (1, 2)
    )
    assert first.conditions[0] is second.conditions[0]
    assert (first.replicas, second.replicas) == (1, 2)
