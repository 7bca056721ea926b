"""Operator, `helm test` and workers meet the Pod Security Standard *restricted*, by its rules and a real server's word.

Source of the rules: https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide import manifest
from arqube_operator.decide.state import Identity

MATRIX: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("matrix.yaml").read_text())
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SECRET = {"name": "redis", "key": "ca.crt"}
WORKERS: dict[str, dict[str, Any]] = {
    "the runtime injected": {},
    "the runtime in the image": {"worker": {"runtime": "image"}},
    "mutual TLS": {
        "redis": {
            "tls": {"caFrom": SECRET, "certFrom": {**SECRET, "key": "tls.crt"}, "keyFrom": {**SECRET, "key": "tls.key"}}
        }
    },
    "a password": {"redis": {"username": "worker", "passwordFrom": {**SECRET, "key": "password"}}},
    "a pod template": {
        "worker": {
            "podTemplate": {
                "metadata": {"labels": {"team": "mail"}},
                "spec": {
                    "nodeSelector": {"kubernetes.io/arch": "amd64"},
                    "containers": [{"name": "worker", "resources": {"limits": {"memory": "1Gi"}}}],
                },
            }
        }
    },
}
BAD: dict[str, Callable[[dict[str, Any]], object]] = {
    "a user that may be root": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "root itself": lambda pod: pod["securityContext"].update(runAsUser=0),
    "no seccomp profile": lambda pod: pod["securityContext"].pop("seccompProfile"),
    "capabilities": lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"),
    "a capability too many": lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(
        add=["NET_ADMIN"]
    ),
    "more privileges than its parent": lambda pod: pod["containers"][0]["securityContext"].pop(
        "allowPrivilegeEscalation"
    ),
    "all privileges": lambda pod: pod["containers"][0]["securityContext"].update(privileged=True),
    "a folder of the node": lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "the node's network": lambda pod: pod.update(hostNetwork=True),
    "a port of the node": lambda pod: pod["containers"][0]["ports"][0].update(hostPort=9464),
}

Render = Callable[..., list[dict[str, Any]]]


def violations(pod: dict[str, Any]) -> Iterator[str]:
    """What of a pod's spec *restricted* forbids."""
    yield from (f"{name} is set" for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name))
    yield from (
        f"volume {volume['name']}" for volume in pod.get("volumes", []) if not set(volume) - {"name"} <= VOLUMES
    )
    own = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        name, context = container["name"], container.get("securityContext", {})
        told = {**own, **context}
        capabilities = context.get("capabilities", {})
        wrong = {
            "privileged": context.get("privileged", False),
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation", True),
            "runAsNonRoot": told.get("runAsNonRoot") is not True,
            "runAsUser": told.get("runAsUser") == 0,
            "seccompProfile": told.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"),
            "capabilities.drop": "ALL" not in capabilities.get("drop", []),
            "capabilities.add": not set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
            "hostPort": any("hostPort" in port for port in container.get("ports", [])),
        }
        yield from (f"{name}: {rule}" for rule, is_so in wrong.items() if is_so)


def worker(changes: dict[str, Any]) -> dict[str, Any]:
    """The Deployment of a TaskQueue's workers."""
    base = {"redis": {"host": "redis"}, "worker": {"image": "emails:1", "settings": "emails.WorkerSettings"}}
    spec = {name: {**part, **changes.get(name, {})} for name, part in base.items()}
    metadata = {"name": "emails", "namespace": "team-a"}
    body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": metadata, "spec": spec}
    identity = Identity(namespace="team-a", name="emails", uid="1", generation=1)
    return manifest.deployment(identity, TaskQueue.model_validate(body).spec, "arqube-worker:1")


def as_pod(template: dict[str, Any]) -> dict[str, Any]:
    """The pod that a controller would make of a template."""
    labels = template.get("metadata", {}).get("labels", {})
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "labels": labels}, "spec": template["spec"]}


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_operator_and_the_test_meet_it(render: Render, values: dict[str, Any]) -> None:
    objects = {body["kind"]: body for body in render(values)}
    for pod in (objects["Deployment"]["spec"]["template"]["spec"], objects["Pod"]["spec"]):
        assert list(violations(pod)) == []
        assert all(container["securityContext"]["readOnlyRootFilesystem"] for container in pod["containers"])


@pytest.mark.parametrize("changes", WORKERS.values(), ids=WORKERS)
def test_workers_meet_it_and_get_no_token(changes: dict[str, Any]) -> None:
    pod = worker(changes)["spec"]["template"]["spec"]
    assert list(violations(pod)) == []
    assert pod["automountServiceAccountToken"] is False


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_a_pod_that_does_not_meet_it_is_noticed(change: Callable[[dict[str, Any]], object]) -> None:
    assert list(violations(changed(change))) != []


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """A worker's pod spec that lost or got something, without its init container."""
    template = yaml.safe_load(yaml.safe_dump(worker({"worker": {"runtime": "image"}})["spec"]["template"]))
    change(template["spec"])
    spec: dict[str, Any] = template["spec"]
    return spec


def test_a_server_that_enforces_it_takes_all_pods_without_a_warning(api_server: Any, helms: dict[str, Any]) -> None:
    if not helms:
        pytest.skip("no Helm is on PATH")
    namespace = api_server.namespace(restricted=True)
    helm = next(iter(helms.values()))
    rendered = helm.done("template", "arqube", str(Path(__file__).parents[2] / "charts/arqube"))
    objects = {body["kind"]: body for body in yaml.safe_load_all(rendered) if body}
    templates = [objects["Deployment"]["spec"]["template"], objects["Pod"]]
    templates += [worker(changes)["spec"]["template"] for changes in WORKERS.values()]
    options = ("apply", "--dry-run=server", f"--namespace={namespace}", "-f", "-")
    for template in templates:
        assert "Warning" not in api_server.kubectl(*options, body=as_pod(template))


def test_a_server_that_enforces_it_refuses_what_our_rules_refuse(api_server: Any) -> None:
    namespace = api_server.namespace(restricted=True)
    for words, change in BAD.items():
        body = as_pod({"spec": changed(change)})
        result = api_server.run("apply", "--dry-run=server", f"--namespace={namespace}", "-f", "-", body=body)
        # The server refuses privileges by itself, before the standard is asked.
        refused = 'violates PodSecurity "restricted:latest"|privileged: Forbidden: disallowed by cluster policy'
        assert re.search(refused, result.stderr), words
