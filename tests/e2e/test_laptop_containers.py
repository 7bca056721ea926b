"""Containers of pods on the laptop cluster: what they wait for, what they are given, and what follows when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest_asyncio

from arqube_local.cluster import LaptopCluster
from arqube_operator.kube.client import EVENTS, SECRETS
from builders.web_server import (
    NAMESPACE,
    alive,
    apply,
    ask,
    cluster_of_servers,
    container_status,
    deployment,
    log_of,
    pid_of,
    pods,
    ready_pods,
)

Eventually = Callable[..., Awaitable[Any]]

SLOW_S = 45.0
"""Deadline of what takes a second or two on an idle machine."""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LaptopCluster]:
    async with cluster_of_servers(tmp_path) as running:
        yield running


async def waits_for(cluster: LaptopCluster, reason: str) -> dict[str, Any]:
    """The waiting state, once it is for ``reason``."""
    waiting: dict[str, Any] = (await container_status(cluster)).get("state", {}).get("waiting", {})
    return waiting if waiting.get("reason") == reason else {}


def words(path: str) -> list[str]:
    return Path(path).read_text().split()


async def told(cluster: LaptopCluster, wanted: set[str]) -> bool:
    """Whether Events with all these reasons were posted; they come a moment after what they tell."""
    return wanted <= await reasons(cluster)


async def reasons(cluster: LaptopCluster) -> set[str]:
    return {event["reason"] for event in (await cluster.client.list(EVENTS, NAMESPACE))[0]}


async def test_a_container_that_ends_starts_again_at_once_and_then_backs_off(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(container={"command": ["sh", "-c", "echo run; exit 3"], "readinessProbe": None}))
    waiting = await eventually(lambda: waits_for(cluster, "CrashLoopBackOff"), within_s=SLOW_S)
    assert waiting["message"].startswith("back-off 10s restarting failed container=web")
    status = await container_status(cluster)
    assert (status["restartCount"], status["lastState"]["terminated"]["exitCode"]) == (1, 3)
    log = log_of(cluster, (await pods(cluster))[0])
    assert log.read_text() == log.with_suffix(".previous.log").read_text() == "run\n"
    await eventually(lambda: told(cluster, {"Started", "BackOff"}))


async def test_a_failed_liveness_probe_restarts_the_container(cluster: LaptopCluster, eventually: Eventually) -> None:
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 5}
    probes = {
        "startupProbe": {**probe, "failureThreshold": 60},
        "livenessProbe": {**probe, "failureThreshold": 1},
    }
    await apply(cluster, deployment(container=probes))
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    pid = await pid_of(pod)
    await ask(pod, "/fall-sick")

    async def restarted() -> bool:
        status = await container_status(cluster)
        return status["restartCount"] == 1 and status["ready"]

    await eventually(restarted, within_s=SLOW_S)
    assert not alive(pid)
    assert await pid_of(pod) != pid
    await eventually(lambda: told(cluster, {"Unhealthy", "Killing"}))


async def test_an_image_of_a_registry_that_cannot_exist_is_not_pulled(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(container={"image": "registry.invalid/web:1"}))
    await eventually(lambda: waits_for(cluster, "ErrImagePull"), within_s=SLOW_S)
    waiting = await eventually(lambda: waits_for(cluster, "ImagePullBackOff"), within_s=SLOW_S)
    assert "registry.invalid" in waiting["message"]
    assert (await pods(cluster))[0]["status"]["phase"] == "Pending"


async def test_a_missing_secret_holds_the_container_until_it_exists(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    variable = {"name": "LOGIN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}
    container = {"env": [{"name": "HTTP_PORT", "value": "8080"}, variable]}
    await apply(cluster, deployment(container=container))
    waiting = await eventually(lambda: waits_for(cluster, "CreateContainerConfigError"), within_s=SLOW_S)
    assert waiting["message"] == 'secret "login" not found'

    secret = {"metadata": {"name": "login"}, "data": {"password": "b3BlbiBzZXNhbWU="}}
    await cluster.client.create(
        SECRETS, NAMESPACE, {"apiVersion": "v1", "kind": "Secret", **secret}, field_manager="test"
    )
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    assert (await ask(pod))["env"]["LOGIN"] == "open sesame"


async def test_volumes_stand_in_for_mounts_through_the_environment(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await cluster.client.create(
        SECRETS,
        NAMESPACE,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "data": {"ca.crt": "Y2E="}},
        field_manager="test",
    )
    mounts = [{"name": "tls", "mountPath": "/etc/tls"}, {"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108
    volumes = [{"name": "tls", "secret": {"secretName": "tls"}}, {"name": "tmp", "emptyDir": {}}]
    await apply(cluster, deployment(env={"CA": "/etc/tls/ca.crt"}, container={"volumeMounts": mounts}, volumes=volumes))
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    environment = (await ask(pod))["env"]
    assert (await asyncio.to_thread(Path(environment["CA"]).read_text)) == "ca"
    assert Path(environment["TMPDIR"]).is_relative_to(cluster.state_dir)


async def test_a_volume_that_is_not_supported_says_so(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment(volumes=[{"name": "data", "hostPath": {"path": "/srv"}}]))

    async def told() -> bool:
        return "FailedMount" in await reasons(cluster)

    await eventually(told, within_s=SLOW_S)
    assert (await pods(cluster))[0]["status"]["phase"] == "Pending"


async def test_init_containers_run_one_after_the_other_until_each_has_succeeded_and_then_the_containers(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    mounted = {"volumeMounts": [{"name": "shared", "mountPath": "/opt/shared"}]}
    # The first fails once. The words of the second are an argument that holds a path of the container.
    first = 'if [ ! -e "$0" ]; then echo once > "$0"; exit 4; fi; echo first >> "$0"'
    second = 'echo second >> "$0"'
    inits = [
        {"name": name, "image": "init:1", "command": ["sh", "-c", script, "/opt/shared/log"], **mounted}
        for name, script in (("first", first), ("second", second))
    ]
    container = {
        "env": [{"name": "HTTP_PORT", "value": "8080"}, {"name": "LOG", "value": "/opt/shared/log"}],
        **mounted,
    }
    volumes = [{"name": "shared", "emptyDir": {}}]
    await apply(cluster, deployment(container=container, initContainers=inits, volumes=volumes))
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    assert words((await ask(pod))["env"]["LOG"]) == ["once", "first", "second"]
    statuses = {status["name"]: status for status in pod["status"]["initContainerStatuses"]}
    assert {name: status["restartCount"] for name, status in statuses.items()} == {"first": 1, "second": 0}
    assert {status["state"]["terminated"]["exitCode"] for status in statuses.values()} == {0}


async def test_a_container_waits_for_an_init_container_that_fails(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    failing = {"name": "setup", "image": "init:1", "command": ["sh", "-c", "exit 5"]}
    await apply(cluster, deployment(initContainers=[failing]))

    async def failed_twice() -> bool:
        found = await pods(cluster)
        statuses = found[0].get("status", {}).get("initContainerStatuses", []) if found else []
        return bool(statuses) and statuses[0]["restartCount"] >= 1

    await eventually(failed_twice, within_s=SLOW_S)
    (pod,) = await pods(cluster)
    assert pod["status"]["phase"] == "Pending"
    assert (await container_status(cluster))["state"] == {"waiting": {"reason": "PodInitializing"}}
    initialized = next(each for each in pod["status"]["conditions"] if each["type"] == "Initialized")
    assert (initialized["status"], initialized["message"]) == ("False", "containers with incomplete status: [setup]")


async def test_what_a_container_leaves_in_its_termination_log_is_its_message(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    command = ["sh", "-c", 'printf "no licence" > "$0"; exit 3', "/dev/termination-log"]
    await apply(cluster, deployment(container={"command": command, "readinessProbe": None}))
    await eventually(lambda: waits_for(cluster, "CrashLoopBackOff"), within_s=SLOW_S)
    ended = (await container_status(cluster))["lastState"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (3, "no licence")


async def test_a_program_that_does_not_exist_is_named(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment(container={"command": ["no-such-program"]}))
    await eventually(lambda: waits_for(cluster, "CrashLoopBackOff"), within_s=SLOW_S)
    ended = (await container_status(cluster))["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert 'exec: "no-such-program": executable file not found' in ended["message"]
