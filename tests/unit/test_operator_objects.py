"""From Kubernetes' objects to the facts of a decision."""

from __future__ import annotations

from typing import Any

import pytest

from arqube_operator.decide.state import Deployment, Pod
from arqube_operator.observe.objects import read_deployment, read_pod

CREATED = "2026-01-01T00:00:00Z"
CREATED_S = 1_767_225_600.0


def pod(status: dict[str, Any] | None = None, **metadata: Any) -> Pod:
    return read_pod({"metadata": {"name": "p", "creationTimestamp": CREATED, **metadata}, "status": status or {}})


def container(state: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"containerStatuses": [{"state": state, **fields}]}


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
