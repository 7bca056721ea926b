"""Between Kubernetes objects and what the decisions read: the states out of them, the manifests into the API."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable
from typing import Any, Final

from arqube_local.controllers.replicas import PodState
from arqube_local.controllers.rollout import Condition, ReplicaSetState, Rollout, RolloutStatus, resolve_bounds
from arqube_local.timestamps import from_timestamp, to_timestamp

NODE: Final = "laptop"
"""Name of the one Node."""
HASH_LABEL: Final = "pod-template-hash"
REVISION_ANNOTATION: Final = "deployment.kubernetes.io/revision"
DELETION_COST_ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"

_NAME_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own for generated names: no vowels, so no words (``k8s.io/apimachinery/pkg/util/rand``)."""
_NAME_LIMIT: Final = 63


def owned(objects: Iterable[dict[str, Any]], owner: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of ``objects`` whose controller is ``owner``."""
    uid = owner["metadata"]["uid"]
    return [
        each
        for each in objects
        if any(ref["uid"] == uid and ref.get("controller") for ref in each["metadata"].get("ownerReferences", []))
    ]


def key(resource: dict[str, Any]) -> tuple[str, str]:
    """Namespace and name."""
    return resource["metadata"]["namespace"], resource["metadata"]["name"]


def template_hash(deployment: dict[str, Any]) -> str:
    """Ten letters that stand for the pod template."""
    digest = hashlib.sha256(json.dumps(deployment["spec"]["template"], sort_keys=True).encode()).digest()
    return "".join(_NAME_ALPHABET[byte % len(_NAME_ALPHABET)] for byte in digest[:10])


def rollout_of(deployment: dict[str, Any]) -> Rollout:
    """What the Deployment asks for, with the API's defaults where it is silent."""
    spec = deployment["spec"]
    replicas = spec.get("replicas", 1)
    strategy = spec.get("strategy", {})
    rolling = strategy.get("rollingUpdate") or {}
    surge, unavailable = resolve_bounds(replicas, rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%"))
    return Rollout(
        replicas=replicas,
        template_hash=template_hash(deployment),
        max_surge=surge,
        max_unavailable=unavailable,
        recreate=strategy.get("type") == "Recreate",
        history_limit=spec.get("revisionHistoryLimit", 10),
        progress_deadline_s=spec.get("progressDeadlineSeconds", 600),
    )


def pod_of(pod: dict[str, Any]) -> PodState:
    """A pod as a ReplicaSet sees it."""
    metadata, status = pod["metadata"], pod.get("status", {})
    ready = next((each for each in status.get("conditions", []) if each["type"] == "Ready"), {"status": "False"})
    return PodState(
        name=metadata["name"],
        created=from_timestamp(metadata["creationTimestamp"]),
        assigned=bool(pod["spec"].get("nodeName")),
        phase=status.get("phase", "Pending"),
        ready_since=from_timestamp(ready["lastTransitionTime"]) if ready["status"] == "True" else None,
        deletion_cost=_deletion_cost(metadata),
        restarts=sum(each.get("restartCount", 0) for each in status.get("containerStatuses", [])),
        terminating="deletionTimestamp" in metadata,
    )


def _deletion_cost(metadata: dict[str, Any]) -> int:
    text = metadata.get("annotations", {}).get(DELETION_COST_ANNOTATION, "0")
    try:
        return int(text)
    except ValueError:
        return 0  # as kube-controller-manager treats what it cannot read


def replica_set_of(replica_set: dict[str, Any], pods: tuple[PodState, ...], now: float) -> ReplicaSetState:
    """A ReplicaSet and its pods as its Deployment sees them."""
    metadata, spec = replica_set["metadata"], replica_set["spec"]
    active = [pod for pod in pods if pod.active]
    return ReplicaSetState(
        name=metadata["name"],
        template_hash=metadata.get("labels", {}).get(HASH_LABEL, ""),
        revision=int(metadata.get("annotations", {}).get(REVISION_ANNOTATION, "0")),
        created=from_timestamp(metadata["creationTimestamp"]),
        desired=spec.get("replicas", 1),
        replicas=len(active),
        ready=sum(pod.ready_since is not None for pod in active),
        available=sum(pod.available(spec.get("minReadySeconds", 0), now) for pod in active),
        lingering=sum(pod.terminating for pod in pods),
    )


def replica_set_status(replica_set: dict[str, Any], state: ReplicaSetState) -> dict[str, Any]:
    """The ReplicaSet's ``status``."""
    return {
        "replicas": state.replicas,
        "fullyLabeledReplicas": state.replicas,
        "readyReplicas": state.ready,
        "availableReplicas": state.available,
        "observedGeneration": replica_set["metadata"].get("generation", 1),
    }


def status_of(deployment: dict[str, Any]) -> tuple[RolloutStatus, tuple[Condition, ...]]:
    """Counts and conditions that the Deployment's ``status`` holds now."""
    status = deployment.get("status", {})
    counts = RolloutStatus(
        replicas=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        available=status.get("availableReplicas", 0),
        unavailable=status.get("unavailableReplicas", 0),
    )
    conditions = tuple(
        Condition(
            each["type"],
            each["status"] == "True",
            each["reason"],
            each["message"],
            changed=from_timestamp(each["lastTransitionTime"]),
            updated=from_timestamp(each["lastUpdateTime"]),
        )
        for each in status.get("conditions", [])
    )
    return counts, conditions


def deployment_status(
    deployment: dict[str, Any], counts: RolloutStatus, conditions: tuple[Condition, ...]
) -> dict[str, Any]:
    """The Deployment's ``status``."""
    return {
        "observedGeneration": deployment["metadata"].get("generation", 1),
        "replicas": counts.replicas,
        "updatedReplicas": counts.updated,
        "readyReplicas": counts.ready,
        "availableReplicas": counts.available,
        "unavailableReplicas": counts.unavailable,
        "conditions": [
            {
                "type": each.type,
                "status": str(each.status),
                "reason": each.reason,
                "message": each.message,
                "lastUpdateTime": to_timestamp(each.updated),
                "lastTransitionTime": to_timestamp(each.changed),
            }
            for each in conditions
        ],
    }


def new_replica_set(deployment: dict[str, Any], replicas: int, revision: int) -> dict[str, Any]:
    """The manifest of the ReplicaSet for the Deployment's template."""
    namespace, name = key(deployment)
    spec, digest = deployment["spec"], template_hash(deployment)
    template = dict(spec["template"])
    metadata = template.get("metadata") or {}
    labels = {**metadata.get("labels", {}), HASH_LABEL: digest}
    selector = spec["selector"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{name}-{digest}",
            "namespace": namespace,
            "labels": labels,
            "annotations": {REVISION_ANNOTATION: str(revision)},
            "ownerReferences": [_owner("apps/v1", "Deployment", deployment)],
        },
        "spec": {
            "replicas": replicas,
            "minReadySeconds": spec.get("minReadySeconds", 0),
            "selector": {**selector, "matchLabels": {**selector.get("matchLabels", {}), HASH_LABEL: digest}},
            "template": {**template, "metadata": {**metadata, "labels": labels}},
        },
    }


def new_pod(replica_set: dict[str, Any]) -> dict[str, Any]:
    """The manifest of one more pod of the ReplicaSet, under a name of its own."""
    namespace, name = key(replica_set)
    template = replica_set["spec"]["template"]
    suffix = "".join(secrets.choice(_NAME_ALPHABET) for _ in range(5))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **(template.get("metadata") or {}),
            "name": f"{name[: _NAME_LIMIT - 6]}-{suffix}",
            "namespace": namespace,
            "ownerReferences": [_owner("apps/v1", "ReplicaSet", replica_set)],
        },
        "spec": {"nodeName": NODE, **template["spec"]},  # with one node there is nothing to schedule
    }


def _owner(api_version: str, kind: str, owner: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
