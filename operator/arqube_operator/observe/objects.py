"""From Kubernetes' JSON to the few facts a decision needs; unknown and missing fields are taken as absent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from pydantic import ValidationError

from arqube_operator.api.v1alpha1 import InvalidTaskQueueError, TaskQueue, TaskQueueSpec, TaskQueueStatus
from arqube_operator.decide.manifest import CONTAINER, DELETION_COST_ANNOTATION, SPEC_HASH_ANNOTATION
from arqube_operator.decide.state import UNSCHEDULABLE, Deployment, Identity, Pod
from arqube_operator.observe.sharing import shared
from arqube_queue import exit_codes

_FAILURES: Final = {
    "ErrImagePull": "ImagePullFailed",
    "ImagePullBackOff": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "CreateContainerConfigError": "ConfigurationError",
    "CreateContainerError": "ConfigurationError",
    "RunContainerError": "ConfigurationError",
    "CrashLoopBackOff": "CrashLooping",
}
"""What a container waits for when it cannot start; one name for states that a pod keeps changing between.

Source: the waiting reasons of Kubernetes' kubelet (pkg/kubelet/images and kuberuntime).
"""
_REMEDIES: Final = {
    "runAsNonRoot": "give a user's number in worker.podTemplate.spec.securityContext.runAsUser",
    'exec: "python3"': "name the image's Python in the command of the container worker in worker.podTemplate",
}
"""What helps against what images often lack, by words of the kubelet's and of runc's messages.

Source: Kubernetes' pkg/kubelet/kuberuntime/security_context_others.go; runc's libcontainer/init_linux.go.
"""
_ENDED: Final = ("Failed", "Succeeded")
"""Phases of pods that run no more, such as evicted ones: they stay until somebody deletes them, and are replaced."""
_TEMPLATE_LABEL: Final = "pod-template-hash"
"""Kubernetes' label of the pods of a Deployment's ReplicaSet."""
_CRASHES: Final = 2
"""A container that has ended after so many restarts is taken to crash, not to be restarted once."""

_LASTING_S: Final = 600.0
"""A container that ran for so long before it ended was well; Kubernetes' back-off begins anew then, too."""

_COST: Final = re.compile("-?[0-9]{1,10}")
"""A deletion cost as Kubernetes takes it; people may annotate pods with anything."""
_SIGKILL: Final = 128 + 9
"""Exit code of a container that was killed: its grace period was over, or its memory."""


class WorkerEnd(Enum):
    """How a worker pod ended."""

    CLEAN = "clean"
    """Its jobs were finished or given back, and it exited with 0."""
    FAILED = "failed"
    KILLED = "killed"
    """By SIGKILL: what it ran goes on elsewhere once its leases have run out."""


@dataclass(frozen=True, slots=True)
class KnownTaskQueue:
    """A TaskQueue as the API server has it.

    Attributes:
        identity: Which one.
        spec: What is asked for; None where the object cannot be understood.
        status: What it shows, as far as that is understood.
        problem: Why the object cannot be understood; names field and remedy.
        deleting: It was asked to go.
        other_status: Its status in Kubernetes' JSON where ``status`` is not all of it, as with a newer operator's.
    """

    identity: Identity
    spec: TaskQueueSpec | None
    status: TaskQueueStatus
    problem: str = ""
    deleting: bool = False
    other_status: Mapping[str, Any] | None = None

    @property
    def live_status(self) -> Mapping[str, Any]:
        """Its status in Kubernetes' JSON."""
        return self.status.to_object() if self.other_status is None else self.other_status


def read_task_queue(body: Mapping[str, Any], known: KnownTaskQueue | None = None) -> KnownTaskQueue:
    """The facts of a TaskQueue; ``known``, what it was before, spares reading a spec that is of the same generation."""
    metadata, live = body["metadata"], body.get("status") or {}
    identity = Identity(metadata["name"], metadata["namespace"], metadata.get("uid", ""), metadata.get("generation", 0))
    deleting = "deletionTimestamp" in metadata
    status = _read_status(live)
    if known is not None and known.spec is not None and known.identity == identity:
        return KnownTaskQueue(known.identity, known.spec, status, "", deleting, _unless_shown(live, status))
    try:
        spec = shared(TaskQueue.from_object({**body, "status": {}}).spec)
    except InvalidTaskQueueError as error:
        return KnownTaskQueue(identity, None, TaskQueueStatus(), str(error), deleting, live)
    return KnownTaskQueue(identity, spec, status, "", deleting, _unless_shown(live, status))


def _read_status(live: Mapping[str, Any]) -> TaskQueueStatus:
    """What the status tells: nothing where it is a stranger's or a newer operator's. Then it is written anew."""
    try:
        return _shared(TaskQueueStatus.model_validate(live, by_alias=True, by_name=False))
    except ValidationError:
        return TaskQueueStatus()


def _shared(status: TaskQueueStatus) -> TaskQueueStatus:
    """One that tells of work will be another in a moment: it is not worth comparing."""
    queue = status.queue
    return status if queue is not None and (queue.waiting or queue.running) else shared(status)


def _unless_shown(live: Mapping[str, Any], status: TaskQueueStatus) -> Mapping[str, Any] | None:
    """``live``, unless ``status`` tells all of it: thousands of both would take much memory."""
    return None if status.to_object() == live else live


def read_deployment(body: Mapping[str, Any]) -> Deployment:
    """The facts of a Deployment."""
    metadata, spec, status = body["metadata"], body.get("spec", {}), body.get("status", {})
    return Deployment(
        spec_hash=metadata.get("annotations", {}).get(SPEC_HASH_ANNOTATION, ""),
        generation=metadata.get("generation", 0),
        spec_replicas=spec.get("replicas", 1),
        replicas=status.get("replicas", 0),
        ready_replicas=status.get("readyReplicas", 0),
        updated_replicas=status.get("updatedReplicas", 0),
        problem=_deployment_problem(status),
    )


def read_pod(body: Mapping[str, Any]) -> Pod:
    """The facts of a worker pod."""
    metadata, status = body["metadata"], body.get("status", {})
    failure, message = _failure(status)
    cost = metadata.get("annotations", {}).get(DELETION_COST_ANNOTATION, "")
    return Pod(
        name=metadata["name"],
        created_s=unix_seconds(metadata["creationTimestamp"]),
        ready_s=_ready_since(status),
        terminating="deletionTimestamp" in metadata or status.get("phase") in _ENDED,
        template=metadata.get("labels", {}).get(_TEMPLATE_LABEL, ""),
        failure=failure,
        failure_message=message,
        deletion_cost=int(cost) if _COST.fullmatch(cost) else None,
    )


def worker_end(body: Mapping[str, Any]) -> WorkerEnd | None:
    """How the runtime in a worker pod that is gone ended; None when it never ran, or nobody has told."""
    for container in body.get("status", {}).get("containerStatuses", ()):
        ended = container.get("state", {}).get("terminated")
        if container.get("name") == CONTAINER and ended is not None:
            code = ended.get("exitCode")
            return WorkerEnd.CLEAN if code == 0 else WorkerEnd.KILLED if code == _SIGKILL else WorkerEnd.FAILED
    return None


def unix_seconds(timestamp: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return datetime.fromisoformat(timestamp).timestamp()


def _ready_since(status: Mapping[str, Any]) -> float | None:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "Ready" and condition.get("status") == "True":
            since = condition.get("lastTransitionTime")
            return unix_seconds(since) if since else None
    return None


def _failure(status: Mapping[str, Any]) -> tuple[str | None, str]:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return UNSCHEDULABLE, condition.get("message", "no node has room")
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        state = container.get("state", {})
        waiting, ended = state.get("waiting", {}), state.get("terminated", {})
        last = ended or container.get("lastState", {}).get("terminated", {})
        if last.get("exitCode") == exit_codes.INCOMPATIBLE and last.get("message") and not container.get("ready"):
            # It will not get better by being tried again, so that one end is enough.
            return "RuntimeIncompatible", last["message"].strip()
        reason = _FAILURES.get(waiting.get("reason", ""))
        often = container.get("restartCount", 0) >= _CRASHES
        if (reason == "CrashLooping" and last) or (often and (ended or _is_tried_again(container, last))):
            return "CrashLooping", _end(container, last)
        if reason is not None:
            return reason, _with_remedy(waiting.get("message", waiting["reason"]))
    return None, ""


def _is_tried_again(container: Mapping[str, Any], last: Mapping[str, Any]) -> bool:
    """Whether it starts anew after a crash and has not got far: a loop is one trouble, and not one with each turn."""
    if container.get("started") is not False or not last.get("exitCode"):
        return False
    began, ended = last.get("startedAt"), last.get("finishedAt")
    return not (began and ended) or unix_seconds(ended) - unix_seconds(began) < _LASTING_S


def _end(container: Mapping[str, Any], ended: Mapping[str, Any]) -> str:
    """How a container ended, in its own words where it has left some."""
    code = f"exit code {ended.get('exitCode', 'unknown')}"
    if words := ended.get("message", "").strip():
        return f"{code}: {_with_remedy(words)}"
    return f"{code}; see kubectl logs --previous --container={container.get('name', '')}"


def _with_remedy(message: str) -> str:
    return message + next((f"; {remedy}" for words, remedy in _REMEDIES.items() if words in message), "")


def _deployment_problem(status: Mapping[str, Any]) -> str | None:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            message: str = condition.get("message", "pods cannot be created")
            return message
    return None
