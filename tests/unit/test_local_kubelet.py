"""The kubelet's pure parts: back-off, probes, environment, status."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from arqube_local.kubelet.backoff import BackOff
from arqube_local.kubelet.environment import (
    ConfigError,
    Sources,
    data_of,
    environment,
    expand,
    program_in_folder,
    references,
    with_folders,
    with_host_ports,
)
from arqube_local.kubelet.images import pull_error
from arqube_local.kubelet.probes import Probe, ProbeState, parse_probe
from arqube_local.kubelet.status import ContainerState, Running, Terminated, Waiting, exit_code, phase, pod_status


def test_restarts_wait_nothing_then_ten_seconds_doubled_up_to_five_minutes() -> None:
    waits, ends = [], 0
    for _ in range(8):
        wait_s, ends = BackOff().restart_s(ends, last_run_s=1.0)
        waits.append(wait_s)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_run_of_ten_minutes_forgives_the_crashes_before() -> None:
    assert BackOff().restart_s(7, last_run_s=599.0) == (300.0, 8)
    assert BackOff().restart_s(7, last_run_s=600.0) == (0.0, 1)


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        pytest.param("registry.invalid/app:1", False, id="a registry below .invalid"),
        pytest.param("registry.invalid:5000/app", False, id="with a port"),
        pytest.param("app.invalid", True, id="a name without a registry is no host"),
        pytest.param("ghcr.io/app/worker:1", True, id="any other registry"),
    ],
)
def test_images_that_can_be_pulled(image: str, pulled: bool) -> None:
    assert (pull_error(image) is None) == pulled


PROBE = Probe("http://127.0.0.1:1/", success_threshold=2, failure_threshold=3)


@pytest.mark.parametrize(
    ("believed", "results", "healthy"),
    [
        pytest.param(True, "--", True, id="fewer failures than the threshold change nothing"),
        pytest.param(True, "---", False, id="as many do"),
        pytest.param(True, "--+--", True, id="a success between starts the count again"),
        pytest.param(False, "+", False, id="one success of two changes nothing"),
        pytest.param(False, "++", True, id="two do"),
        pytest.param(False, "+-+", False, id="successes count in a row only"),
        pytest.param(True, "---++", True, id="health comes back"),
    ],
)
def test_probe_results_change_health_by_runs(believed: bool, results: str, healthy: bool) -> None:
    state = ProbeState(believed)
    for result in results:
        state = state.after(PROBE, success=result == "+")
    assert state.healthy == healthy


HTTP_CONTAINER = {
    "name": "web",
    "ports": [{"name": "http", "containerPort": 9464}],
    "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 2},
    "livenessProbe": {"httpGet": {"path": "healthz", "port": 9464, "host": "localhost"}, "failureThreshold": 1},
    "startupProbe": {"exec": {"command": ["true"]}},
}


def test_probes_reach_the_port_of_this_machine_with_the_api_defaults() -> None:
    probe = parse_probe(HTTP_CONTAINER, "readinessProbe", {9464: 20001})
    assert probe == Probe(
        "http://127.0.0.1:20001/readyz", period_s=2, timeout_s=1, success_threshold=1, failure_threshold=3
    )
    tcp = parse_probe({**HTTP_CONTAINER, "readinessProbe": {"tcpSocket": {"port": "http"}}}, "readinessProbe", {})
    assert tcp == Probe("tcp://127.0.0.1:9464")
    liveness = parse_probe(HTTP_CONTAINER, "livenessProbe", {9464: 20001})
    assert liveness is not None
    assert (liveness.url, liveness.failure_threshold) == ("http://localhost:20001/healthz", 1)


@pytest.mark.parametrize(
    ("container", "kind", "message"),
    [
        pytest.param(HTTP_CONTAINER, "startupProbe", "supports httpGet and tcpSocket", id="another kind of probe"),
        pytest.param({**HTTP_CONTAINER, "ports": []}, "readinessProbe", "no port named 'http'", id="an unknown port"),
    ],
)
def test_probes_that_cannot_be_run_say_so(container: dict[str, Any], kind: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_probe(container, kind, {})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        pytest.param("$(A)-$(B)", "1-2", id="known names"),
        pytest.param("$(NO)", "$(NO)", id="an unknown name stays"),
        pytest.param("$$(A)", "$(A)", id="a doubled dollar escapes"),
        pytest.param("$A $", "$A $", id="shell syntax is not expanded"),
    ],
)
def test_references_to_variables_are_expanded(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


POD = {"metadata": {"name": "web-1", "namespace": "shop", "uid": "u", "labels": {"app": "web"}}, "spec": {}}
SOURCES = Sources(
    secrets={"login": {"user": "ann", "password": "x"}, "gone": None},
    config_maps={"settings": {"LEVEL": "info"}, "gone": None},
)


def environment_of(*env: dict[str, Any], env_from: tuple[dict[str, Any], ...] = ()) -> dict[str, str]:
    return environment(POD, {"name": "web", "env": list(env), "envFrom": list(env_from)}, SOURCES)


def secret_key(name: str, key: str, **more: object) -> dict[str, Any]:
    return {"name": "V", "valueFrom": {"secretKeyRef": {"name": name, "key": key, **more}}}


@pytest.mark.parametrize(
    ("given_", "variables"),
    [
        pytest.param(environment_of({"name": "A"}), {"A": ""}, id="a variable without a value is empty"),
        pytest.param(
            environment_of(
                {"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}
            ),
            {"A": "1", "B": "1$(C)", "C": "3"},
            id="a value sees the variables before it",
        ),
        pytest.param(environment_of(secret_key("login", "user")), {"V": "ann"}, id="a key of a Secret"),
        pytest.param(
            environment_of(secret_key("gone", "user", optional=True)), {}, id="an optional Secret that is not"
        ),
        pytest.param(
            environment_of({"name": "LEVEL", "value": "debug"}, env_from=({"configMapRef": {"name": "settings"}},)),
            {"LEVEL": "debug"},
            id="env goes over envFrom",
        ),
        pytest.param(
            environment_of(env_from=({"secretRef": {"name": "login"}, "prefix": "DB_"},)),
            {"DB_user": "ann", "DB_password": "x"},
            id="a whole Secret with a prefix",
        ),
        pytest.param(
            environment_of(
                {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            ),
            {"N": "shop", "L": "web"},
            id="fields of the pod",
        ),
    ],
)
def test_environment(given_: dict[str, str], variables: dict[str, str]) -> None:
    assert given_ == variables


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        pytest.param(secret_key("gone", "user"), 'secret "gone" not found', id="a missing Secret"),
        pytest.param(secret_key("login", "pin"), "couldn't find key pin in secret login", id="a missing key"),
        pytest.param(
            {"name": "V", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "k"}}},
            'configmap "gone" not found',
            id="a missing ConfigMap",
        ),
        pytest.param(
            {"name": "V", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            "V: .* does not support valueFrom.resourceFieldRef",
            id="another kind of reference",
        ),
        pytest.param(
            {"name": "V", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}, "'spec.x' is not supported", id="a field"
        ),
    ],
)
def test_what_cannot_be_resolved_is_named(variable: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        environment_of(variable)


def test_secrets_and_config_maps_a_container_needs() -> None:
    container = {
        "env": [secret_key("one", "k"), {"name": "P", "value": "plain"}],
        "envFrom": [{"secretRef": {"name": "two"}}, {"configMapRef": {"name": "three"}}],
    }
    assert references(container) == ({"one", "two"}, {"three"})


def test_a_secrets_data_is_decoded_and_never_printed() -> None:
    data = data_of({"data": {"k": base64.b64encode(b"pa\xff").decode()}}, secret=True)
    assert data == {"k": "pa\udcff"}
    assert "hidden" not in repr(Sources(secrets={"s": {"k": "hidden"}}))


def test_declared_ports_become_ports_of_this_machine_in_variables_named_port() -> None:
    variables = {"HTTP_PORT": "9464", "REDIS_PORT": "6379", "RETRIES": "9464"}
    assert with_host_ports(variables, {9464: 20001}) == {**variables, "HTTP_PORT": "20001"}


def test_mount_paths_become_folders_of_this_machine() -> None:
    folders = {"/etc/tls": "/state/tls", "/etc/tls/deep": "/state/deep"}
    variables = {"A": "/etc/tls/ca.crt", "B": "/etc/tls", "C": "/etc/tls/deep/x", "D": "/etc/tlsx", "E": "plain"}
    assert with_folders(variables, folders) == {
        **variables,
        "A": "/state/tls/ca.crt",
        "B": "/state/tls",
        "C": "/state/deep/x",
    }


def test_a_program_of_this_machine_stays_where_it_is_also_below_a_mount(tmp_path: Path) -> None:
    program = tmp_path / "venv-python"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    folders = {str(tmp_path): "/state/tmp"}

    assert program_in_folder(str(program), folders) == str(program)
    assert program_in_folder(f"{tmp_path}/unpacked", folders) == "/state/tmp/unpacked"


ENDED = Terminated(1, started=1, finished=2, reason="Error")
DONE = Terminated(0, started=1, finished=2)


def container(state: Waiting | Running | Terminated, last: Terminated | None = None, **more: Any) -> ContainerState:
    return ContainerState("worker", "app:1", state, last, **more)


@pytest.mark.parametrize(
    ("containers", "policy", "expected"),
    [
        pytest.param((container(Waiting()),), "Always", "Pending", id="not yet started"),
        pytest.param((container(Running(1)), container(Waiting())), "Always", "Pending", id="one of two started"),
        pytest.param((container(Running(1)),), "Always", "Running", id="running"),
        pytest.param((container(Waiting("CrashLoopBackOff"), ENDED),), "Always", "Running", id="between restarts"),
        pytest.param((container(DONE),), "Always", "Running", id="ended, to start again"),
        pytest.param((container(DONE),), "OnFailure", "Succeeded", id="done for good"),
        pytest.param((container(ENDED),), "Never", "Failed", id="failed for good"),
        pytest.param((container(ENDED),), "OnFailure", "Running", id="failed, to start again"),
    ],
)
def test_phase(containers: tuple[ContainerState, ...], policy: str, expected: str) -> None:
    assert phase(containers, policy) == expected


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["lastTransitionTime"]) for each in status["conditions"]}


def test_a_condition_keeps_its_time_until_its_status_changes() -> None:
    starting = pod_status((container(Running(5)),), "Always", {}, start_time=0, now=5)
    still = pod_status((container(Running(5), started=True),), "Always", starting, start_time=0, now=6)
    ready = pod_status((container(Running(5), ready=True),), "Always", still, start_time=0, now=7)
    assert conditions(still)["Ready"] == ("False", "1970-01-01T00:00:05Z")
    assert conditions(ready)["Ready"] == ("True", "1970-01-01T00:00:07Z")
    assert conditions(ready)["PodScheduled"] == ("True", "1970-01-01T00:00:05Z")


def test_a_crash_shows_in_the_container_status() -> None:
    killed = Terminated(exit_code(-9), started=1, finished=2, reason="Error")
    status = pod_status(
        (container(Waiting("CrashLoopBackOff", "back-off"), killed, restarts=2),), "Always", {}, start_time=0, now=3
    )
    shown = status["containerStatuses"][0]
    assert shown["restartCount"] == 2
    assert shown["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    assert (shown["lastState"]["terminated"]["exitCode"], shown["lastState"]["terminated"]["signal"]) == (137, 9)
