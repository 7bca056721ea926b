"""The workers' Deployment and what users lay over it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide.manifest import SPEC_HASH_ANNOTATION, deployment
from arqube_operator.decide.overlay import overlay
from arqube_operator.decide.state import Identity

IDENTITY = Identity(name="emails", namespace="shop", uid="u-1", generation=1)
HOST = {"host": "redis"}


def manifest(redis: dict[str, Any] = HOST, **spec: Any) -> dict[str, Any]:
    worker = {"image": "app:1", "settings": "app.WorkerSettings"} | spec.pop("worker", {})
    body = {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "emails", "namespace": "shop"},
        "spec": {"redis": redis, "worker": worker, **spec},
    }
    return deployment(IDENTITY, TaskQueue.from_object(body).spec)


def pod(body: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = body["spec"]["template"]["spec"]
    return spec


def environment(body: dict[str, Any]) -> dict[str, Any]:
    entries = pod(body)["containers"][0]["env"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def secret(key: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": "s", "key": key}}


@pytest.mark.parametrize(
    ("redis", "expected"),
    [
        pytest.param(
            {"host": "redis", "port": 6380, "database": 2, "username": "app"},
            {
                "ARQUBE_REDIS_HOST": "redis",
                "ARQUBE_REDIS_PORT": "6380",
                "ARQUBE_REDIS_DATABASE": "2",
                "ARQUBE_REDIS_USERNAME": "app",
                "REDIS_QUEUE_HOST": "redis",
                "REDIS_QUEUE_PORT": "6380",
            },
            id="a host, also under the names templates read",
        ),
        pytest.param({"url": "rediss://r:1/3"}, {"ARQUBE_REDIS_URL": "rediss://r:1/3"}, id="a URL"),
        pytest.param(
            {"urlFrom": {"name": "s", "key": "url"}}, {"ARQUBE_REDIS_URL": secret("url")}, id="a URL by reference"
        ),
        pytest.param(
            {"sentinel": {"master": "m", "hosts": ["a:1", "b:2"]}},
            {"ARQUBE_REDIS_SENTINELS": "a:1,b:2", "ARQUBE_REDIS_SENTINEL_MASTER": "m", "ARQUBE_REDIS_DATABASE": "0"},
            id="sentinels",
        ),
        pytest.param(
            HOST | {"passwordFrom": {"name": "s", "key": "password"}},
            {
                "ARQUBE_REDIS_HOST": "redis",
                "ARQUBE_REDIS_PORT": "6379",
                "ARQUBE_REDIS_DATABASE": "0",
                "ARQUBE_REDIS_PASSWORD": secret("password"),
                "REDIS_QUEUE_HOST": "redis",
                "REDIS_QUEUE_PORT": "6379",
            },
            id="a password by reference only",
        ),
    ],
)
def test_the_worker_is_told_where_redis_is(redis: dict[str, Any], expected: dict[str, Any]) -> None:
    seen = environment(manifest(redis))

    assert {name: value for name, value in seen.items() if "REDIS" in name} == expected


def test_tls_files_come_from_secrets_and_are_mounted_where_the_worker_looks() -> None:
    body = manifest(HOST | {"tls": {"caFrom": {"name": "s", "key": "ca.crt"}, "verify": False}})

    assert environment(body)["ARQUBE_REDIS_TLS_CA_FILE"] == "/etc/arqube/tls/ca/ca.crt"
    assert environment(body)["ARQUBE_REDIS_TLS_VERIFY"] == "false"
    mounts = {mount["mountPath"]: mount["name"] for mount in pod(body)["containers"][0]["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod(body)["volumes"]}
    assert volumes[mounts["/etc/arqube/tls/ca"]]["secret"] == {
        "secretName": "s",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
    }


def test_the_scaler_alone_owns_the_number_of_workers() -> None:
    assert "replicas" not in manifest()["spec"]


def test_the_grace_period_outlasts_the_shutdown_timeout() -> None:
    body = manifest(shutdown={"timeout": "5m"})

    assert pod(body)["terminationGracePeriodSeconds"] == 315
    assert environment(body)["ARQUBE_SHUTDOWN_TIMEOUT"] == "300"


def test_workers_are_told_what_dead_letters_to_keep() -> None:
    default = environment(manifest())
    assert (default["ARQUBE_DEAD_LETTER_RETENTION"], default["ARQUBE_DEAD_LETTER_MAX_ENTRIES"]) == ("1209600", "100000")
    set_by_user = environment(manifest(deadLetters={"retention": "1h30m", "maxEntries": 10}))
    assert set_by_user["ARQUBE_DEAD_LETTER_RETENTION"] == "5400"
    assert set_by_user["ARQUBE_DEAD_LETTER_MAX_ENTRIES"] == "10"


def test_pods_satisfy_the_restricted_pod_security_standard() -> None:
    spec = pod(manifest())
    container = spec["containers"][0]["securityContext"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}


def test_the_hash_changes_with_the_manifest_and_with_nothing_else() -> None:
    def digest(body: dict[str, Any]) -> str:
        text: str = body["metadata"]["annotations"][SPEC_HASH_ANNOTATION]
        return text

    assert digest(manifest()) == digest(manifest(scaling={"maxReplicas": 50}))
    assert digest(manifest()) != digest(manifest(worker={"image": "app:2"}))


def test_a_users_pod_template_is_laid_over_ours() -> None:
    template = {
        "metadata": {"labels": {"team": "mail"}, "annotations": {"note": "x"}},
        "spec": {
            "nodeSelector": {"disk": "ssd"},
            "containers": [
                {
                    "name": "worker",
                    "resources": {"limits": {"memory": "1Gi"}},
                    "env": [
                        {"name": "ARQUBE_LOG_FORMAT", "value": "json"},
                        {"name": "ARQUBE_QUEUE_NAME", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "q"}}},
                    ],
                },
                {"name": "sidecar", "image": "proxy:1"},
            ],
        },
    }
    body = manifest(worker={"podTemplate": template})

    spec, metadata = pod(body), body["spec"]["template"]["metadata"]
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert [container["name"] for container in spec["containers"]] == ["worker", "sidecar"]
    assert spec["containers"][0]["image"] == "app:1"
    assert spec["containers"][0]["resources"] == {"limits": {"memory": "1Gi"}}
    assert environment(body)["ARQUBE_LOG_FORMAT"] == "json"
    assert environment(body)["ARQUBE_QUEUE_NAME"] == {"configMapKeyRef": {"name": "c", "key": "q"}}
    assert metadata["labels"]["team"] == "mail"
    assert metadata["labels"]["arqube.dev/taskqueue"] == "emails"
    assert metadata["annotations"] == {"note": "x"}


@pytest.mark.parametrize(
    ("base", "over", "expected"),
    [
        pytest.param({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, id="new fields are added"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}, id="objects are merged"),
        pytest.param({"a": 1, "b": 2}, {"a": None}, {"b": 2}, id="a null takes the field away"),
        pytest.param({"args": ["x"]}, {"args": ["y", "z"]}, {"args": ["y", "z"]}, id="plain lists are replaced"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]},
            id="named items are merged in place, new ones follow",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]},
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}]},
            id="a reference takes the value's place",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}]},  # noqa: S108
            {"volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]},  # noqa: S108
            {"volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}]},  # noqa: S108
            id="mounts are told apart by their path",
        ),
    ],
)
def test_overlay(base: dict[str, Any], over: dict[str, Any], expected: dict[str, Any]) -> None:
    assert overlay(base, over) == expected


objects = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda children: st.dictionaries(st.text(max_size=3), children, max_size=4),
    max_leaves=10,
).filter(lambda value: isinstance(value, dict))


@given(objects, objects)
def test_overlay_keeps_what_the_user_says_and_is_stable(base: dict[str, Any], over: dict[str, Any]) -> None:
    once = overlay(base, over)

    assert overlay(once, over) == once
    assert overlay(base, {}) == base
    assert over.keys() <= once.keys()
