"""From Kubernetes' objects to the facts of a decision."""

from __future__ import annotations

from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import TaskQueueStatus
from arqube_operator.decide.state import Deployment, Pod
from arqube_operator.observe.objects import read_deployment, read_pod, read_task_queue

CREATED = "2026-01-01T00:00:00Z"
CREATED_S = 1_767_225_600.0


def pod(status: dict[str, Any] | None = None, **metadata: Any) -> Pod:
    return read_pod({"metadata": {"name": "p", "creationTimestamp": CREATED, **metadata}, "status": status or {}})


def container(state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"state": state, **fields}]}


def ended(code: int, *message: str, **times: str) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **dict(zip(("message",), message, strict=False)), **times}}


INCOMPATIBLE = ended(78, "arq 0.24.0 is too old")


def test_a_pod_just_made_is_neither_ready_nor_failing() -> None:
    assert pod() == Pod(name="p", created_s=CREATED_S)


def test_a_ready_pod_tells_since_when() -> None:
    status = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:12Z"}]}

    assert pod(status).ready_s == CREATED_S + 12


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        pytest.param(container({"waiting": {"reason": "ContainerCreating"}}), None, id="being made is no failure"),
        pytest.param(container({"waiting": {"reason": "ErrImagePull"}}), "ImagePullFailed", id="an image not found"),
        pytest.param(container({"waiting": {"reason": "ImagePullBackOff"}}), "ImagePullFailed", id="the same, waiting"),
        pytest.param(
            container({"waiting": {"reason": "CreateContainerConfigError", "message": 'secret "s" not found'}}),
            "ConfigurationError",
            id="a missing Secret",
        ),
        pytest.param(container({"waiting": {"reason": "CrashLoopBackOff"}}), "CrashLooping", id="a crash loop"),
        pytest.param(container({"terminated": {"exitCode": 1}}, restartCount=3), "CrashLooping", id="ended once more"),
        pytest.param(container({"terminated": {"exitCode": 1}}, restartCount=0), None, id="ended once is restarted"),
        pytest.param(container({"running": {}}, restartCount=3, ready=True), None, id="running after restarts"),
        pytest.param(
            container({"running": {}}, restartCount=3, started=False, lastState=ended(1)),
            "CrashLooping",
            id="tried again after crashes",
        ),
        pytest.param(
            container({"running": {}}, restartCount=3, started=True, lastState=ended(1)), None, id="started at last"
        ),
        pytest.param(
            container({"running": {}}, restartCount=1, started=False, lastState=ended(1)), None, id="tried once more"
        ),
        pytest.param(
            container({"running": {}}, restartCount=3, started=False, lastState=ended(0)), None, id="ended well"
        ),
        pytest.param(
            container(
                {"running": {}},
                restartCount=3,
                started=False,
                lastState=ended(137, startedAt="2026-01-01T00:00:00Z", finishedAt="2026-01-01T02:00:00Z"),
            ),
            None,
            id="ran for hours before it ended",
        ),
        pytest.param(container(INCOMPATIBLE), "RuntimeIncompatible", id="an image that cannot run the runtime"),
        pytest.param(
            container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=INCOMPATIBLE),
            "RuntimeIncompatible",
            id="the same, between restarts",
        ),
        pytest.param(
            container({"running": {}}, lastState=INCOMPATIBLE, ready=False),
            "RuntimeIncompatible",
            id="the same, in the next try",
        ),
        pytest.param(
            container({"running": {}}, lastState=INCOMPATIBLE, ready=True), None, id="an image that can run it now"
        ),
        pytest.param(
            container({"terminated": {"exitCode": 78}}), None, id="an exit code of 78 that the runtime did not explain"
        ),
        pytest.param(
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
            "Unschedulable",
            id="no node has room",
        ),
    ],
)
def test_a_pod_that_needs_attention_says_why(status: dict[str, Any], failure: str | None) -> None:
    seen = pod(status)

    assert seen.failure == failure
    assert bool(seen.failure_message) == (failure is not None)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        pytest.param(container(INCOMPATIBLE), "arq 0.24.0 is too old", id="why an image cannot run the runtime"),
        pytest.param(
            container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(2, "no module 'app'\n")),
            "exit code 2: no module 'app'",
            id="the last words of a crash",
        ),
        pytest.param(
            container({"waiting": {"reason": "CrashLoopBackOff"}}, lastState=ended(1), name="worker"),
            "exit code 1; see kubectl logs --previous --container=worker",
            id="where to look when there were none",
        ),
        pytest.param(
            container({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}),
            "back-off 10s",
            id="what is known when the last end is not",
        ),
        pytest.param(
            container(
                {
                    "waiting": {
                        "reason": "CreateContainerConfigError",
                        "message": "container has runAsNonRoot and image will run as root",
                    }
                }
            ),
            "container has runAsNonRoot and image will run as root; give a user's number in"
            " worker.podTemplate.spec.securityContext.runAsUser",
            id="what helps an image that runs as root",
        ),
        pytest.param(
            container(
                {"waiting": {"reason": "CrashLoopBackOff"}},
                lastState=ended(128, 'exec: "python3": executable file not found in $PATH'),
            ),
            'exit code 128: exec: "python3": executable file not found in $PATH; name the image\'s Python in the'
            " command of the container worker in worker.podTemplate",
            id="what helps an image whose Python has another name",
        ),
    ],
)
def test_a_failure_is_told_in_the_words_of_what_failed(status: dict[str, Any], message: str) -> None:
    assert pod(status).failure_message == message


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        pytest.param("7", 7, id="a number"),
        pytest.param("-3", -3, id="a negative one"),
        pytest.param("many", None, id="a word is none"),
    ],
)
def test_the_deletion_cost_is_read(text: str, cost: int | None) -> None:
    assert pod(annotations={"controller.kubernetes.io/pod-deletion-cost": text}).deletion_cost == cost


def test_a_pod_asked_to_go_is_terminating() -> None:
    assert pod(deletionTimestamp=CREATED).terminating


def test_a_deployment_without_status_has_no_pods_yet() -> None:
    body = {"metadata": {"generation": 2, "annotations": {"arqube.dev/spec-hash": "h"}}, "spec": {"replicas": 3}}

    assert read_deployment(body) == Deployment(spec_hash="h", generation=2, spec_replicas=3)


def test_a_deployment_that_cannot_make_pods_says_why() -> None:
    condition = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}

    assert read_deployment({"metadata": {}, "status": {"conditions": [condition]}}).problem == "exceeded quota"


TASK_QUEUE = {
    "apiVersion": "arqube.dev/v1alpha1",
    "kind": "TaskQueue",
    "metadata": {"name": "emails", "namespace": "shop", "uid": "u-1", "generation": 1},
    "spec": {"redis": {"host": "redis"}, "worker": {"image": "app:1", "settings": "app.WorkerSettings"}},
}


@pytest.mark.parametrize("before", [{}, {"replicas": 2}], ids=["at first sight", "after one that was understood"])
@pytest.mark.parametrize(
    "status",
    [
        pytest.param({"replicas": "2 of 3"}, id="a figure became a sentence"),
        pytest.param({"conditions": [{"type": "Ready", "status": "Degraded"}]}, id="a condition has another state"),
        pytest.param({"scaling": {"reason": "Why not?", "message": ""}}, id="a reason has another form"),
    ],
)
def test_a_status_that_a_newer_operator_wrote_otherwise_is_no_trouble_of_the_spec(
    status: dict[str, Any], before: dict[str, Any]
) -> None:
    known = read_task_queue(TASK_QUEUE | {"status": before}) if before else None

    found = read_task_queue(TASK_QUEUE | {"status": status}, known)

    assert found.problem == ""
    assert found.spec is not None
    assert found.status == TaskQueueStatus()
    assert found.live_status == status, "so that the next write puts it right"


def test_a_spec_that_cannot_be_read_says_so_whatever_the_status_is() -> None:
    found = read_task_queue(TASK_QUEUE | {"spec": {"redis": {"host": "redis"}}, "status": {"replicas": "2 of 3"}})

    assert found.spec is None
    assert found.problem == "spec.worker: is required; add it"
