"""TaskQueues and statuses that nobody wrote: what passes the schema is decided upon without a defect.

``ARQUBE_FUZZ_EXAMPLES`` says how many of each are tried, for the long run of ``make fuzz``.
"""

from __future__ import annotations

import json
import os
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.api.v1alpha1 import TaskQueueStatus
from arqube_operator.decide.plan import Plan, decide
from arqube_operator.decide.state import Deployment, Memory, Pod, Problem, State
from arqube_operator.execute.executor import merge_patch
from arqube_operator.observe.objects import KnownTaskQueue, read_task_queue
from arqube_queue.model import QueueSnapshot
from builders.schemas import TIMES, mutated, values

KIND = "times in a status"
EXAMPLES = int(os.environ.get("ARQUBE_FUZZ_EXAMPLES") or 25)
NOW = 1_790_000_000.0
SCHEMA: dict[str, Any] = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
SPEC, STATUS = (SCHEMA["properties"][part] for part in ("spec", "status"))
VALIDATOR = jsonschema.Draft7Validator(SPEC)
FUZZED = settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
PLAIN_SPEC = {"redis": {"host": "redis"}, "worker": {"image": "app", "settings": "app.S"}}


def known(spec: Any, status: Any = None) -> KnownTaskQueue:
    metadata = {"name": "fuzzed", "namespace": "default", "uid": "1", "generation": 2, "resourceVersion": "7"}
    return read_task_queue(
        {
            "apiVersion": "arqube.dev/v1alpha1",
            "kind": "TaskQueue",
            "metadata": metadata,
            "spec": spec,
            **({} if status is None else {"status": status}),
        }
    )


def situations(task_queue: KnownTaskQueue) -> list[State]:
    """A new queue, one at work, one of another's leader, and one whose Redis is away."""
    assert task_queue.spec is not None
    new = State(task_queue.identity, task_queue.spec, task_queue.status, "arqube-worker:1")
    busy = QueueSnapshot(
        at_ms=int(NOW * 1000), waiting=500, running=3, deferred=2, due_soon=1, oldest_wait_s=9.0, dead_letters=1
    )
    pods = (Pod("a", NOW - 60, NOW - 30), Pod("b", NOW - 5, failure="CrashLooping", failure_message="exit code 2"))
    live = Deployment("other", 3, 2, 2, 1, 2)
    return [
        new,
        State(task_queue.identity, task_queue.spec, task_queue.status, "arqube-worker:1", live, pods, busy),
        State(
            *(task_queue.identity, task_queue.spec, task_queue.status, "arqube-worker:1", live, pods, None),
            Problem("RedisUnreachable", "it does not answer"),
        ),
    ]


def decided(task_queue: KnownTaskQueue) -> list[Plan]:
    """What is planned in each situation, now and once more later; all of it can be sent to the API server."""
    plans = []
    for state in situations(task_queue):
        memory = Memory()
        for now in (NOW, NOW + 3600):
            plan = decide(State(**{name: getattr(state, name) for name in State.__slots__} | {"memory": memory}), now)
            memory = plan.memory
            plans.append(plan)
    return plans


def check(plan: Plan, task_queue: KnownTaskQueue) -> None:
    assert task_queue.spec is not None
    if plan.status is not None:
        sent = plan.status.to_object()
        json.dumps(merge_patch(task_queue.live_status, sent), allow_nan=False)
        assert TaskQueueStatus.model_validate(sent, by_alias=True, by_name=False) == plan.status
    if plan.apply is not None:
        json.dumps(plan.apply, allow_nan=False)
        template = plan.apply["spec"]["template"]
        chosen = plan.apply["spec"]["selector"]["matchLabels"]
        assert chosen.items() <= template["metadata"]["labels"].items()
    if plan.replicas is not None:
        assert 0 <= plan.replicas <= 10_000


@given(mutated(values(SPEC)))
@FUZZED
def test_a_task_queue_is_refused_in_words_or_decided_upon(spec: Any) -> None:
    task_queue = known(spec)
    if task_queue.spec is None:
        assert task_queue.problem
        return
    assert VALIDATOR.is_valid(spec) or spec != {}
    for plan in decided(task_queue):
        check(plan, task_queue)


@given(mutated(values(STATUS)))
@FUZZED
def test_a_status_of_a_stranger_is_read_over_and_mended(status: Any) -> None:
    """The TaskQueue is seen to whatever its status says, and its status is made its own again."""
    task_queue = known(PLAIN_SPEC, status)
    assert task_queue.spec is not None
    plans = decided(task_queue)
    for plan in plans:
        check(plan, task_queue)
    assert plans[2].status is not None


@pytest.mark.parametrize("case", TIMES)
def test_a_time_of_a_stranger_is_reckoned_with_or_passed_over(case: str) -> None:
    condition = {"type": "ScalingLimited", "status": "True", "reason": "MaxReplicas", "message": ""}
    scaling = {"reason": "A", "message": "", "crons": {"template": "", "next": case}, "lastScaleTime": case}
    task_queue = known(PLAIN_SPEC, {"scaling": scaling, "conditions": [{**condition, "lastTransitionTime": case}]})
    for plan in decided(task_queue):
        check(plan, task_queue)


@given(st.dictionaries(st.sampled_from(["status", "spec", "metadata2", "kind"]), st.none()))
@settings(max_examples=8)
def test_parts_that_are_null_are_taken_as_absent(nulls: dict[str, None]) -> None:
    body = {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "fuzzed", "namespace": "default"},
        "spec": PLAIN_SPEC,
        **nulls,
    }
    assert read_task_queue(body).identity.name == "fuzzed"
