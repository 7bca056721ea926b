"""What the operator writes is what every Kubernetes takes that the chart says it runs on: all versions' own schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide.manifest import deployment
from arqube_operator.decide.state import Identity

ROOT = Path(__file__).parents[2]
OLDEST = int(yaml.safe_load((ROOT / "charts/arqube/Chart.yaml").read_text())["kubeVersion"].split(".")[1])
NEWEST = int(kubernetes_validate.latest_version().split(".")[1])
VERSIONS = [f"1.{minor}.0" for minor in range(OLDEST, NEWEST + 1)]

KIND = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue"}
TASK_QUEUES: dict[str, dict[str, Any]] = {
    "a short one": {"redis": {"host": "redis"}, "worker": {"image": "app:1", "settings": "app.WorkerSettings"}},
    "one with TLS, secrets, an image that holds the runtime and a pod template": {
        "redis": {
            "sentinel": {"master": "m", "hosts": ["a:1", "b:2"], "passwordFrom": {"name": "s", "key": "sentinel"}},
            "passwordFrom": {"name": "s", "key": "password"},
            "tls": {
                "caFrom": {"name": "s", "key": "ca"},
                "certFrom": {"name": "s", "key": "cert"},
                "keyFrom": {"name": "s", "key": "key"},
            },
        },
        "worker": {
            "image": "app:1",
            "settings": "app.WorkerSettings",
            "runtime": "image",
            "podTemplate": {
                "metadata": {"labels": {"team": "mail"}},
                "spec": {
                    "nodeSelector": {"disk": "ssd"},
                    "tolerations": [{"key": "spot", "operator": "Exists"}],
                    "containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}],
                },
            },
        },
        "shutdown": {"timeout": "30m"},
    },
}


@pytest.fixture(scope="module", autouse=True)
def told(request: pytest.FixtureRequest) -> None:
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\nschemas of Kubernetes {VERSIONS[0]} to {VERSIONS[-1]}")  # noqa: T201 - what the run tells


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spec", TASK_QUEUES.values(), ids=TASK_QUEUES)
def test_the_workers_deployment_is_as_the_schemas_say(version: str, spec: dict[str, Any]) -> None:
    identity = Identity(name="emails", namespace="shop", uid="u-1", generation=1)
    body = {**KIND, "metadata": {"name": "emails", "namespace": "shop"}, "spec": spec}
    manifest = deployment(identity, TaskQueue.from_object(body).spec, "registry.example/arqube-worker:1")

    kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_field_that_kubernetes_does_not_know_is_found(version: str) -> None:
    identity = Identity(name="emails", namespace="shop", uid="u-1", generation=1)
    body = {**KIND, "metadata": {"name": "emails", "namespace": "shop"}, "spec": TASK_QUEUES["a short one"]}
    manifest = deployment(identity, TaskQueue.from_object(body).spec, "registry.example/arqube-worker:1")
    manifest["spec"]["template"]["spec"]["containers"][0]["envy"] = []

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_definition_of_taskqueues_is_as_the_schemas_say(version: str) -> None:
    definition = yaml.safe_load((ROOT / "crds/taskqueues.arqube.dev.yaml").read_text())

    kubernetes_validate.validate(definition, version, strict=True)
