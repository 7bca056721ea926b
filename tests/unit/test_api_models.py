"""The TaskQueue's models: what they read, what they tell of a wrong object, what they write."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from arqube_operator.api.v1alpha1 import (
    Condition,
    CronStatus,
    InvalidTaskQueueError,
    LastChange,
    QueueStatus,
    ScalingInputs,
    ScalingStatus,
    ScalingTerm,
    TaskQueue,
    TaskQueueSpec,
    TaskQueueStatus,
    WorkerSpec,
)
from arqube_operator.api.v1alpha1.redis import RedisSpec

OBJECT: dict[str, Any] = {
    "apiVersion": "arqube.dev/v1alpha1",
    "kind": "TaskQueue",
    "metadata": {
        "name": "emails",
        "namespace": "mail",
        "uid": "5a4c",
        "generation": 3,
        "resourceVersion": "17",
        "managedFields": [],
    },
    "spec": {
        "redis": {"host": "redis"},
        "worker": {"image": "registry.example/app:1.4.2", "settings": "app.worker.WorkerSettings"},
    },
}
STATUS = TaskQueueStatus(
    observed_generation=3,
    replicas=2,
    ready_replicas=1,
    desired_replicas=2,
    selector="arqube.dev/taskqueue=emails",
    queue=QueueStatus(waiting=17, running=3, deferred=2, due_soon=1, oldest_wait="12s", dead_letters=4),
    scaling=ScalingStatus(
        reason="ScalingUp",
        message="17 waiting",
        startup_seconds=4.5,
        inputs=ScalingInputs(waiting=17, running=3, due_soon=1, oldest_wait_seconds=12, slots=20),
        terms=(ScalingTerm(name="Arrivals", replicas=0.45, message="3.2 jobs/s x 1.4 s = 4.5 busy slots"),),
        limit="MaxReplicas",
        retiring=0,
        last_change=LastChange(
            time="2026-01-31T12:00:00Z", from_replicas=1, to_replicas=2, reason="ScalingUp", message="17 waiting"
        ),
        crons=CronStatus(template="5d4f"),
    ),
    conditions=(
        Condition(
            type="Ready",
            status="True",
            reason="Ready",
            message="the workers take jobs",
            last_transition_time="2026-01-31T12:00:00Z",
        ),
    ),
)


def with_spec(**fields: Any) -> dict[str, Any]:
    body = copy.deepcopy(OBJECT)
    body["spec"] |= fields
    return body


def problems(body: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(InvalidTaskQueueError) as caught:
        TaskQueue.from_object(body)
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


def test_reads_what_is_set_and_fills_in_the_rest() -> None:
    queue = TaskQueue.from_object(OBJECT)
    assert (queue.metadata.name, queue.metadata.namespace, queue.metadata.uid, queue.metadata.generation) == (
        "emails",
        "mail",
        "5a4c",
        3,
    )
    spec = queue.spec
    assert (spec.redis.host, spec.redis.port, spec.redis.database) == ("redis", 6379, 0)
    assert (spec.queue_name, spec.replicas, spec.worker.concurrency) == ("arq:queue", None, 10)
    assert (spec.scaling.min_replicas, spec.scaling.max_replicas) == (0, 10)
    assert (spec.scaling.cooldown_s, spec.shutdown.timeout_s) == (60.0, 30.0)
    assert (spec.dead_letters.retention_s, spec.dead_letters.max_entries) == (1_209_600.0, 100_000)
    assert queue.status == TaskQueueStatus()


def test_the_spec_can_be_made_by_the_names_of_python() -> None:
    worker = WorkerSpec(image="app", settings="app.Settings", image_pull_policy="Never")
    spec = TaskQueueSpec(redis=RedisSpec(host="redis"), queue_name="mail", worker=worker)
    assert (
        spec
        == TaskQueue.from_object(
            with_spec(queueName="mail", worker={"image": "app", "settings": "app.Settings", "imagePullPolicy": "Never"})
        ).spec
    )


def test_models_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TaskQueue.from_object(OBJECT).spec.queue_name = "other"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        pytest.param(
            {name: value for name, value in OBJECT.items() if name != "spec"},
            ("spec: is required; add it",),
            id="there is no spec",
        ),
        pytest.param(
            {**OBJECT, "apiVersion": "arqube.dev/v9"},
            ("apiVersion: must be 'arqube.dev/v1alpha1'",),
            id="another version",
        ),
        pytest.param(
            with_spec(queue_name="mail"),
            ("spec.queue_name: is no field of the TaskQueue; remove it or correct its spelling",),
            id="a name of Python in a manifest",
        ),
        pytest.param(
            with_spec(redis={"host": None, "sentinel": {"master": "mymaster", "hosts": ["s1:26379", "s2:0"]}}),
            ("spec.redis.sentinel.hosts[1]: must have the form host:port, with a port from 1 to 65535",),
            id="an item of a list",
        ),
        pytest.param(
            with_spec(scaling={"minReplicas": 3, "maxReplicas": 2}),
            ("spec.scaling.minReplicas: must not be above maxReplicas; lower minReplicas or raise maxReplicas",),
            id="a rule across fields",
        ),
        pytest.param(
            with_spec(scaling={"maxReplicas": True}, queueName=7),
            ("spec.queueName: must be a valid string", "spec.scaling.maxReplicas: must be a valid integer"),
            id="several problems, in the order of the fields",
        ),
        pytest.param(
            with_spec(redis={}),
            ("spec.redis: must name Redis in exactly one way: keep one of host, url, urlFrom and sentinel",),
            id="a rule about a whole object",
        ),
    ],
)
def test_tells_what_is_wrong(body: dict[str, Any], told: tuple[str, ...]) -> None:
    assert problems(body) == told


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redis://app:salmontrout@redis", id="with a user"),
        pytest.param("redis://:salmontrout@redis", id="without a user"),
        pytest.param("redis://app:salmon/trout@redis", id="with a slash in it"),
        pytest.param("redis://app:salmon@trout@redis", id="with an at sign in it"),
        pytest.param("redis://redis?password=salmontrout", id="as a parameter"),
        pytest.param("http://app:salmontrout@redis", id="in a URL of another scheme"),
    ],
)
def test_never_repeats_a_password(url: str) -> None:
    (told,) = problems(with_spec(redis={"url": url}))
    assert told.startswith("spec.redis.url: ")
    assert "salmon" not in told
    assert "trout" not in told


def test_the_pod_template_is_handed_out_as_it_was_given() -> None:
    template = {
        "metadata": {"labels": {"team": "mail"}},
        "spec": {
            "terminationGracePeriodSeconds": 60,
            "securityContext": None,
            "containers": [{"name": "worker", "resources": {"limits": None}}],
        },
    }
    body = with_spec(worker={**OBJECT["spec"]["worker"], "podTemplate": template})
    assert TaskQueue.from_object(body).spec.worker.pod_template.to_object() == template
    assert TaskQueue.from_object(OBJECT).spec.worker.pod_template.to_object() == {}


def test_the_status_is_written_without_what_is_not_known() -> None:
    assert TaskQueueStatus().to_object() == {}
    written = STATUS.to_object()
    assert written["queue"] == {
        "waiting": 17,
        "running": 3,
        "deferred": 2,
        "dueSoon": 1,
        "oldestWait": "12s",
        "deadLetters": 4,
    }
    assert written["scaling"] == {
        "reason": "ScalingUp",
        "message": "17 waiting",
        "startupSeconds": 4.5,
        "inputs": {"waiting": 17, "running": 3, "dueSoon": 1, "oldestWaitSeconds": 12, "slots": 20},
        "terms": [{"name": "Arrivals", "replicas": 0.45, "message": "3.2 jobs/s x 1.4 s = 4.5 busy slots"}],
        "limit": "MaxReplicas",
        "retiring": 0,
        "lastChange": {
            "time": "2026-01-31T12:00:00Z",
            "from": 1,
            "to": 2,
            "reason": "ScalingUp",
            "message": "17 waiting",
        },
        "crons": {"template": "5d4f"},
    }
    assert "observedGeneration" not in written["conditions"][0]


def test_the_status_reads_back_as_it_was_written() -> None:
    assert TaskQueue.from_object({**OBJECT, "status": STATUS.to_object()}).status == STATUS


def test_the_status_of_an_operator_that_knew_no_dead_letters_is_read() -> None:
    written = STATUS.to_object()
    del written["queue"]["deadLetters"]
    queue = TaskQueue.from_object({**OBJECT, "status": written}).status.queue
    assert queue is not None
    assert queue.dead_letters == 0


def test_the_status_of_a_newer_operator_is_read() -> None:
    written = {**STATUS.to_object(), "ageOfTheOperator": 4}
    written["scaling"]["inputs"]["moonPhase"] = 0.5
    written["conditions"][0]["severity"] = "Info"
    assert TaskQueue.from_object({**OBJECT, "status": written}).status == STATUS
