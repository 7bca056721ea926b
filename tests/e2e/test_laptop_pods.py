"""Deployments of small HTTP servers on the laptop cluster, without the operator: the kubelet and the controllers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from arqube_local.apiserver import Trouble
from arqube_local.cluster import LaptopCluster
from arqube_local.kubelet.container import log_file
from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, PODS, SECRETS

Eventually = Callable[..., Awaitable[Any]]

NAMESPACE = "default"
SLOW_S = 45.0
"""Deadline of what takes a second or two on an idle machine."""

SERVER = """
import http.server, json, os, signal, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    sick = False

    def do_GET(self):
        Handler.sick |= self.path == "/fall-sick"
        self.send_response(500 if Handler.sick and self.path == "/healthz" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid(), "env": dict(os.environ)}).encode())

    def log_message(self, *_):
        pass

def stop(*_):
    print("stopping", flush=True)
    time.sleep(float(os.environ.get("STOP_AFTER", "0")))
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["HTTP_PORT"])), Handler).serve_forever()
"""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LaptopCluster]:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "server.py").write_text(SERVER)
    async with LaptopCluster(
        state_dir=tmp_path / "state", app_dir=tmp_path / "app", operator=False, stop_s=5
    ) as running:
        yield running


def deployment(
    *, replicas: int = 1, env: dict[str, str] | None = None, container: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """A Deployment of the server; ``container`` goes over the server's container, ``spec`` over the pod's spec."""
    server = {
        "name": "web",
        "image": "web:1",
        "command": ["python", "server.py"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "HTTP_PORT", "value": "8080"}, *({"name": k, "value": v} for k, v in (env or {}).items())],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 5},
        **(container or {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 10, **spec, "containers": [server]},
            },
        },
    }


async def apply(cluster: LaptopCluster, body: dict[str, Any]) -> None:
    await cluster.client.apply(DEPLOYMENTS, NAMESPACE, "web", body, field_manager="test")


async def scale(cluster: LaptopCluster, replicas: int) -> None:
    await cluster.client.scale(DEPLOYMENTS, NAMESPACE, "web", replicas, field_manager="test")


async def pods(cluster: LaptopCluster) -> list[dict[str, Any]]:
    return (await cluster.client.list(PODS, NAMESPACE))[0]


async def ready_pods(cluster: LaptopCluster, count: int) -> list[dict[str, Any]]:
    """The pods, once there are ``count`` and all are ready; empty until then."""
    found = await pods(cluster)
    ready = [pod for pod in found if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    return ready if len(ready) == len(found) == count else []


def is_ready(pod: dict[str, Any]) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", [])
    )


async def container_status(cluster: LaptopCluster) -> dict[str, Any]:
    """The container's status of the only pod; empty before there is one."""
    found = await pods(cluster)
    statuses = found[0].get("status", {}).get("containerStatuses") if found else None
    return statuses[0] if statuses else {}


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


def local_port(pod: dict[str, Any]) -> int:
    return int(json.loads(pod["metadata"]["annotations"]["arqube.dev/local-ports"])["8080"])


async def ask(pod: dict[str, Any], path: str = "/") -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{local_port(pod)}{path}") as response,
    ):
        answer: dict[str, Any] = json.loads(await response.text())
        return answer


async def pid_of(pod: dict[str, Any]) -> int:
    return int((await ask(pod))["pid"])


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def log_of(cluster: LaptopCluster, pod: dict[str, Any]) -> Path:
    return log_file(cluster.state_dir, NAMESPACE, pod["metadata"]["name"], "web")


async def kubectl(cluster: LaptopCluster, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *arguments,
        env={**os.environ, "KUBECONFIG": cluster.kubeconfig},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_scales_up_and_down_and_deletion_leaves_no_process(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(replicas=2))
    both = await eventually(lambda: ready_pods(cluster, 2), within_s=SLOW_S)
    assert len({local_port(pod) for pod in both}) == 2
    pids = [await pid_of(pod) for pod in both]

    await cluster.client.patch_metadata(
        PODS,
        NAMESPACE,
        both[0]["metadata"]["name"],
        {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}},
        field_manager="test",
    )
    await scale(cluster, 1)
    (kept,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    assert kept["metadata"]["name"] == both[1]["metadata"]["name"]
    assert [alive(pid) for pid in pids] == [False, True]

    assert "successfully rolled out" in await kubectl(cluster, "rollout", "status", "deployment/web", "--timeout=30s")
    await kubectl(cluster, "delete", "deployment", "web")

    async def nothing() -> bool:
        return not await pods(cluster)

    await eventually(nothing, within_s=SLOW_S)
    assert not alive(pids[1])


async def test_a_rolling_update_never_loses_availability(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment(replicas=2))
    before = await eventually(lambda: ready_pods(cluster, 2), within_s=SLOW_S)
    names = {pod["metadata"]["name"] for pod in before}
    least, most = 2, 2

    async def replaced() -> bool:
        nonlocal least, most
        found = await pods(cluster)
        active = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        least, most = min(least, sum(map(is_ready, active))), max(most, len(active))
        return len(found) == 2 and all(map(is_ready, found)) and names.isdisjoint(p["metadata"]["name"] for p in found)

    await apply(cluster, deployment(replicas=2, env={"VERSION": "2"}))
    await eventually(replaced, within_s=SLOW_S)
    assert (least, most) == (2, 3)
    for pod in await pods(cluster):
        assert (await ask(pod))["env"]["VERSION"] == "2"
    assert "successfully rolled out" in await kubectl(cluster, "rollout", "status", "deployment/web", "--timeout=30s")


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


async def test_a_pod_may_finish_within_its_grace_period(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment(env={"STOP_AFTER": "2"}, terminationGracePeriodSeconds=60))
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    pid = await pid_of(pod)
    await scale(cluster, 0)
    await eventually(lambda: "stopping" in log_of(cluster, pod).read_text(), within_s=SLOW_S)
    (stopping,) = await pods(cluster)
    assert "deletionTimestamp" in stopping["metadata"]
    assert alive(pid)
    assert await eventually(lambda: not alive(pid), within_s=40)


async def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace_period(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(env={"STOP_AFTER": "600"}, terminationGracePeriodSeconds=1))
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    pid = await pid_of(pod)
    await scale(cluster, 0)

    async def gone() -> bool:
        return not alive(pid) and not await pods(cluster)

    await eventually(gone, within_s=SLOW_S)
    assert "stopping" in log_of(cluster, pod).read_text()


async def test_a_deleted_pod_is_replaced(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment())
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    await kubectl(cluster, "delete", "pod", pod["metadata"]["name"])
    (other,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    assert other["metadata"]["uid"] != pod["metadata"]["uid"]


async def test_a_node_that_dies_tells_nobody_and_runs_what_is_there_when_it_is_back(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(replicas=2, env={"STOP_AFTER": "600"}))
    before = await eventually(lambda: ready_pods(cluster, 2), within_s=SLOW_S)
    pids = [await pid_of(pod) for pod in before]
    await cluster.kubelet.die()
    assert not any(map(alive, pids))
    assert len(await ready_pods(cluster, 2)) == 2, "nobody has told"

    evicted, kept = (pod["metadata"]["name"] for pod in before)
    await cluster.client.delete(PODS, NAMESPACE, evicted, grace_period_s=0)
    await eventually(lambda: is_replaced(cluster, evicted), within_s=SLOW_S)
    cluster.kubelet.revive()

    async def both_run() -> bool:
        after = {pod["metadata"]["name"]: pod for pod in await ready_pods(cluster, 2)}
        if kept not in after or evicted in after:
            return False
        try:
            return pids[1] != await pid_of(after[kept])
        except aiohttp.ClientError:  # What stands of it is from before.
            return False

    await eventually(both_run, within_s=SLOW_S)


async def is_replaced(cluster: LaptopCluster, name: str) -> bool:
    names = [pod["metadata"]["name"] for pod in await pods(cluster)]
    return len(names) == 2 and name not in names


async def test_pods_go_though_the_api_server_is_away_when_they_end(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(env={"STOP_AFTER": "2"}))
    await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    trouble = Trouble(frozenset({"DELETE"}), "/pods/", status=503)
    (pod,) = await pods(cluster)
    pid = await pid_of(pod)
    await scale(cluster, 0)
    await eventually(lambda: terminating(cluster), within_s=SLOW_S)
    cluster.api.faults.begin(trouble)
    await eventually(lambda: not alive(pid), within_s=SLOW_S)
    refused = asyncio.get_running_loop().time() + 4  # Longer than it once tried.
    await eventually(lambda: asyncio.get_running_loop().time() > refused)
    assert await pods(cluster)
    cluster.api.faults.end(trouble)

    async def nothing() -> bool:
        return not await pods(cluster)

    await eventually(nothing, within_s=SLOW_S)


async def terminating(cluster: LaptopCluster) -> bool:
    return any("deletionTimestamp" in pod["metadata"] for pod in await pods(cluster))


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


async def test_leaving_the_cluster_stops_its_pods(tmp_path: Path, eventually: Eventually) -> None:
    (tmp_path / "server.py").write_text(SERVER)
    async with LaptopCluster(state_dir=tmp_path / "state", app_dir=tmp_path, operator=False, stop_s=2) as running:
        await apply(running, deployment(replicas=1, env={"STOP_AFTER": "600"}))
        (pod,) = await eventually(lambda: ready_pods(running, 1), within_s=SLOW_S)
        pids = [await pid_of(pod), running.redis.pid]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)
