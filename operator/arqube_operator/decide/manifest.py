"""The Deployment that runs a TaskQueue's workers, as a manifest without ``spec.replicas``: those are the scaler's."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from arqube_operator.api.v1alpha1 import RedisSpec, SecretKey, TaskQueueSpec
from arqube_operator.decide import pod_security
from arqube_operator.decide.overlay import overlay
from arqube_operator.decide.runtime import Runtime, runtime
from arqube_operator.decide.state import Identity
from arqube_queue import environment as env

CONTAINER: Final = "worker"
TASK_QUEUE_LABEL: Final = "arqube.dev/taskqueue"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "arqube-operator"
SPEC_HASH_ANNOTATION: Final = "arqube.dev/spec-hash"
DELETION_COST_ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
GRACE_MARGIN_S: Final = 15
"""Seconds a worker gets beyond its shutdown timeout to give jobs back, flush results and run on_shutdown."""

_TLS_FOLDER: Final = "/etc/arqube/tls"
_HASHES: Final = 10_000
"""TaskQueues whose hash is remembered."""

_hashes: dict[tuple[str, str, str, str], tuple[TaskQueueSpec, str]] = {}


def deployment_name(task_queue: str) -> str:
    """Name of the Deployment that runs the workers of ``task_queue``."""
    return f"{task_queue}-worker"


def selector(task_queue: str) -> dict[str, str]:
    """Labels that tell the pods of ``task_queue`` within its namespace; a Deployment's selector can never change."""
    return {TASK_QUEUE_LABEL: task_queue}


def spec_hash(identity: Identity, spec: TaskQueueSpec, runtime_image: str) -> str:
    """The hash that the manifest carries as an annotation. Remembered, as it is asked for at each decision."""
    key = (identity.namespace, identity.name, identity.uid, runtime_image)
    known = _hashes.get(key)
    if known is not None and (known[0] is spec or known[0] == spec):
        return known[1]
    digest: str = deployment(identity, spec, runtime_image)["metadata"]["annotations"][SPEC_HASH_ANNOTATION]
    if len(_hashes) >= _HASHES:
        del _hashes[next(iter(_hashes))]
    _hashes[key] = (spec, digest)
    return digest


def deployment(identity: Identity, spec: TaskQueueSpec, runtime_image: str) -> dict[str, Any]:
    """The manifest of the workers' Deployment, with its own hash as an annotation."""
    labels = {
        "app.kubernetes.io/name": "arqube-worker",
        "app.kubernetes.io/instance": identity.name,
        MANAGED_BY_LABEL: MANAGED_BY,
        **selector(identity.name),
    }
    template = overlay(_pod_template(identity, spec, runtime_image), spec.worker.pod_template.to_object())
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": deployment_name(identity.name),
            "namespace": identity.namespace,
            "labels": labels,
            "ownerReferences": [
                {
                    "apiVersion": "arqube.dev/v1alpha1",
                    "kind": "TaskQueue",
                    "name": identity.name,
                    "uid": identity.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": {
            "selector": {"matchLabels": selector(identity.name)},
            "revisionHistoryLimit": 3,
            # New pods come before old ones go: a rollout in the middle of a load takes no capacity away.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
            "template": template,
        },
    }
    return overlay(manifest, {"metadata": {"annotations": {SPEC_HASH_ANNOTATION: _digest(manifest)}}})


def _pod_template(identity: Identity, spec: TaskQueueSpec, runtime_image: str) -> dict[str, Any]:
    source = runtime(spec.worker, runtime_image)
    return {
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": int(spec.shutdown.timeout_s) + GRACE_MARGIN_S,
            "securityContext": pod_security.POD,
            "initContainers": list(source.init_containers),
            "containers": [_container(identity, spec, source)],
            "volumes": [{"name": "tmp", "emptyDir": {}}, *source.volumes, *_tls_volumes(spec.redis)],
        }
    }


def _container(identity: Identity, spec: TaskQueueSpec, source: Runtime) -> dict[str, Any]:
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "timeoutSeconds": 5}
    container: dict[str, Any] = {
        "name": CONTAINER,
        "image": spec.worker.image,
        "command": list(source.command),
        "args": [spec.worker.settings],
        "env": _environment(identity, spec),
        "ports": [{"name": "http", "containerPort": env.DEFAULT_HTTP_PORT, "protocol": "TCP"}],
        # A start-up may import a large app and run a slow on_startup: five minutes.
        "startupProbe": {**probe, "periodSeconds": 1, "failureThreshold": 300},
        "livenessProbe": {**probe, "periodSeconds": 10, "failureThreshold": 3},
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "timeoutSeconds": 5, "periodSeconds": 2},
        "terminationMessagePath": env.DEFAULT_TERMINATION_LOG,
        # A worker that dies without a word of its own is explained by the end of its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": pod_security.CONTAINER,
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own, in memory of the node's disk
            *source.mounts,
            *(
                {"name": volume["name"], "mountPath": _mount_path(volume), "readOnly": True}
                for volume in _tls_volumes(spec.redis)
            ),
        ],
    }
    if spec.worker.image_pull_policy is not None:
        container["imagePullPolicy"] = spec.worker.image_pull_policy
    return container


def _environment(identity: Identity, spec: TaskQueueSpec) -> list[dict[str, Any]]:
    plain = {
        **_redis_environment(spec.redis),
        env.TASK_QUEUE: identity.name,
        env.QUEUE_NAME: spec.queue_name,
        env.CONCURRENCY: str(spec.worker.concurrency),
        env.SHUTDOWN_TIMEOUT: f"{spec.shutdown.timeout_s:g}",
        env.DEAD_LETTER_RETENTION: str(int(spec.dead_letters.retention_s)),
        env.DEAD_LETTER_MAX_ENTRIES: str(spec.dead_letters.max_entries),
        env.HTTP_PORT: str(env.DEFAULT_HTTP_PORT),
        env.TERMINATION_LOG: env.DEFAULT_TERMINATION_LOG,
    }
    secrets = {
        env.REDIS_URL: spec.redis.url_from,
        env.REDIS_PASSWORD: spec.redis.password_from,
        env.REDIS_SENTINEL_PASSWORD: spec.redis.sentinel.password_from if spec.redis.sentinel else None,
    }
    fields = {env.WORKER_NAME: "metadata.name", env.NAMESPACE: "metadata.namespace"}
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        *(
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": secret.key}}}
            for name, secret in secrets.items()
            if secret is not None
        ),
        *({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()),
    ]


def _redis_environment(redis: RedisSpec) -> dict[str, str]:
    values: dict[str, str] = {}
    if redis.host is not None:
        port = str(redis.port)
        values |= {env.REDIS_HOST: redis.host, env.REDIS_PORT: port}
        values |= {env.TEMPLATE_REDIS_HOST: redis.host, env.TEMPLATE_REDIS_PORT: port}
    if redis.url is not None:
        values[env.REDIS_URL] = redis.url
    if redis.sentinel is not None:
        values[env.REDIS_SENTINELS] = ",".join(redis.sentinel.hosts)
        values[env.REDIS_SENTINEL_MASTER] = redis.sentinel.master
        if redis.sentinel.username is not None:
            values[env.REDIS_SENTINEL_USERNAME] = redis.sentinel.username
    if redis.url is None and redis.url_from is None:
        values[env.REDIS_DATABASE] = str(redis.database)
    if redis.username is not None:
        values[env.REDIS_USERNAME] = redis.username
    if redis.tls is not None:
        values |= {env.REDIS_TLS: "true", env.REDIS_TLS_VERIFY: str(redis.tls.verify).lower()}
        values |= {variable: f"{_TLS_FOLDER}/{name}/{secret.key}" for name, variable, secret in _tls_files(redis)}
    return values


def _tls_files(redis: RedisSpec) -> list[tuple[str, str, SecretKey]]:
    """Each file TLS needs: its folder, the variable that holds its path, the Secret's key it comes from."""
    if redis.tls is None:
        return []
    files = [
        ("ca", env.REDIS_TLS_CA_FILE, redis.tls.ca_from),
        ("cert", env.REDIS_TLS_CERT_FILE, redis.tls.cert_from),
        ("key", env.REDIS_TLS_KEY_FILE, redis.tls.key_from),
    ]
    return [(name, variable, secret) for name, variable, secret in files if secret is not None]


def _tls_volumes(redis: RedisSpec) -> list[dict[str, Any]]:
    return [
        {
            "name": f"redis-tls-{name}",
            "secret": {"secretName": secret.name, "items": [{"key": secret.key, "path": secret.key}]},
        }
        for name, _, secret in _tls_files(redis)
    ]


def _mount_path(volume: dict[str, Any]) -> str:
    return f"{_TLS_FOLDER}/{volume['name'].removeprefix('redis-tls-')}"


def _digest(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
