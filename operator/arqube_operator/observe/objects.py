"""From Kubernetes' JSON to the few facts a decision needs; unknown and missing fields are taken as absent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from arqube_operator.decide.manifest import DELETION_COST_ANNOTATION, SPEC_HASH_ANNOTATION
from arqube_operator.decide.state import Deployment, Pod

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
_CRASHES: Final = 2
"""A container that has ended after so many restarts is taken to crash, not to be restarted once."""


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
        terminating="deletionTimestamp" in metadata,
        failure=failure,
        failure_message=message,
        deletion_cost=int(cost) if cost.lstrip("-").isdigit() else None,
    )


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
            return "Unschedulable", condition.get("message", "no node has room")
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting", {})
        if reason := _FAILURES.get(waiting.get("reason", "")):
            return reason, waiting.get("message", waiting["reason"])
        ended = container.get("state", {}).get("terminated")
        if ended and container.get("restartCount", 0) >= _CRASHES:
            return "CrashLooping", f"exit code {ended.get('exitCode', 'unknown')}; see kubectl logs --previous"
    return None, ""


def _deployment_problem(status: Mapping[str, Any]) -> str | None:
    for condition in status.get("conditions", ()):
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            message: str = condition.get("message", "pods cannot be created")
            return message
    return None
