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
RUNTIME = "registry.example/arqube-worker:1"


def task_queue(redis: dict[str, Any], worker: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "emails", "namespace": "shop"},
        "spec": {"redis": redis, "worker": {"image": "app:1", "settings": "app.WorkerSettings"} | worker, **spec},
    }


def manifest(redis: dict[str, Any] = HOST, worker: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    return deployment(IDENTITY, TaskQueue.from_object(task_queue(redis, worker or {}, **spec)).spec, RUNTIME)


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
            {
                "sentinel": {
                    "master": "m",
                    "hosts": ["a:1"],
                    "username": "app",
                    "passwordFrom": {"name": "s", "key": "sentinels"},
                }
            },
            {
                "ARQUBE_REDIS_SENTINELS": "a:1",
                "ARQUBE_REDIS_SENTINEL_MASTER": "m",
                "ARQUBE_REDIS_SENTINEL_USERNAME": "app",
                "ARQUBE_REDIS_SENTINEL_PASSWORD": secret("sentinels"),
                "ARQUBE_REDIS_DATABASE": "0",
            },
            id="sentinels that ask for a password",
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


@pytest.mark.parametrize("runtime", ["inject", "image"])
def test_pods_satisfy_the_restricted_pod_security_standard(runtime: str) -> None:
    spec = pod(manifest(worker={"runtime": runtime}))

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert len(spec["initContainers"]) == (1 if runtime == "inject" else 0)
    for container in (*spec["initContainers"], *spec["containers"]):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_unless_said_otherwise_the_runtime_is_brought_into_the_pod_and_run_by_the_image_s_python() -> None:
    spec = pod(manifest())
    (copy,) = spec["initContainers"]
    worker = spec["containers"][0]

    assert copy["image"] == RUNTIME
    (written,) = copy["volumeMounts"]
    (read,) = (mount for mount in worker["volumeMounts"] if mount["name"] == written["name"])
    assert read == written | {"readOnly": True}
    assert copy["command"][-1] == written["mountPath"]
    assert worker["image"] == "app:1"
    assert worker["command"] == ["python3", f"{written['mountPath']}/run.py"]
    assert worker["args"] == ["app.WorkerSettings"]
    assert [volume["name"] for volume in spec["volumes"] if "emptyDir" in volume] == ["tmp", written["name"]]
    # A variable of the pod would hide the image's own.
    assert "PYTHONPATH" not in environment(manifest())


def test_the_runtime_of_the_image_itself_is_its_command() -> None:
    spec = pod(manifest(worker={"runtime": "image"}))

    assert spec["initContainers"] == []
    assert spec["containers"][0]["command"] == ["arqube-worker"]
    assert [volume["name"] for volume in spec["volumes"]] == ["tmp"]


def test_a_pod_template_may_name_another_python_and_add_init_containers_after_ours() -> None:
    template = {
        "spec": {
            "initContainers": [
                {"name": "migrate", "image": "app:1"},
                {"name": "arqube-runtime", "resources": {"limits": {"cpu": "2"}}},
            ],
            "containers": [{"name": "worker", "command": ["/opt/venv/bin/python", "/opt/arqube-runtime/run.py"]}],
        }
    }
    spec = pod(manifest(worker={"podTemplate": template}))

    assert [container["name"] for container in spec["initContainers"]] == ["arqube-runtime", "migrate"]
    assert spec["initContainers"][0]["image"] == RUNTIME
    assert spec["initContainers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "64Mi"}
    assert spec["containers"][0]["command"] == ["/opt/venv/bin/python", "/opt/arqube-runtime/run.py"]


def test_another_runtime_image_is_rolled_out_where_it_is_injected() -> None:
    def digest(runtime: str, image: str) -> str:
        spec = TaskQueue.from_object(task_queue(HOST, {"runtime": runtime})).spec
        text: str = deployment(IDENTITY, spec, image)["metadata"]["annotations"][SPEC_HASH_ANNOTATION]
        return text

    assert digest("inject", "arqube-worker:1") != digest("inject", "arqube-worker:2")
    assert digest("image", "arqube-worker:1") == digest("image", "arqube-worker:2")


def test_the_worker_says_why_it_ends_where_kubernetes_reads_it() -> None:
    body = manifest()

    assert pod(body)["containers"][0]["terminationMessagePath"] == environment(body)["ARQUBE_TERMINATION_LOG"]


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
        pytest.param(
            {"containers": [{"name": "worker"}]},
            {"containers": ["worker"]},
            {"containers": ["worker"]},
            id="a list of other things is left for Kubernetes to refuse",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}]},
            {"env": [{"value": "2"}]},
            {"env": [{"value": "2"}]},
            id="items without their key are left for Kubernetes to refuse",
        ),
        pytest.param({"env": []}, {"env": "A=1"}, {"env": "A=1"}, id="a text is no list"),
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
