"""``python -m benchmarks.fastapi.kubernetes``: the run on the real cluster of ``$KUBECONFIG``.

The cluster must not have Arqube's definition. ``kubectl``, ``helm`` and a builder of images must be on ``PATH``;
``E2E_BUILD_COMMAND`` and ``E2E_LOAD_COMMAND`` mean what they mean to ``make e2e``. ``DEBIAN_IMAGE`` names the base of
the image with PostgreSQL and Redis, if not ``debian:trixie-slim``.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template
from typing import Any, Final

import yaml

from benchmarks.commands import run
from benchmarks.fastapi import records
from benchmarks.fastapi.client import Ledger
from benchmarks.fastapi.command import command
from benchmarks.fastapi.faults import Fault
from benchmarks.fastapi.stage import NotReadyError
from benchmarks.fastapi.verdict import Records
from benchmarks.images import ROOT, Builder

SYSTEM: Final = "arqube-fastapi-system"
WORK: Final = "arqube-fastapi"
RELEASE: Final = "arqube-fastapi"
DEFINITION: Final = "taskqueues.arqube.dev"
HERE: Final = Path(__file__).parent
EXAMPLE: Final = ROOT / "examples/fastapi-app"
TAG: Final = "fastapi-run"
WORKERS: Final = 2
READY_S: Final = 180
STRUCK_S: Final = 30.0
"""How long it may take until a container that was struck has ended."""
DATABASE_URL: Final = "postgresql+asyncpg://app@postgres/postgres"
REDIS_URL: Final = "redis://redis:6379/0"
KILL: Final = """
for process in /proc/[0-9]*; do
    if read -r name < "$process/comm" && [ "$name" = "$0" ]; then kill "$1" "${process#/proc/}"; fi
done
"""
"""Run as ``sh -c KILL NAME -SIGNAL``: signals all processes of a program, without a tool that an image may lack."""


class Kubernetes:
    """The stage on a real cluster."""

    def __init__(self) -> None:
        self._victims = itertools.count()

    @property
    def versions(self) -> tuple[str, ...]:
        """What Kubernetes, PostgreSQL and Redis call themselves."""
        kubernetes = json.loads(run("kubectl", "version", "--output=json"))["serverVersion"]["gitVersion"]
        database = _kubectl("exec", "deployment/postgres", "--", "/opt/postgresql/postgres", "--version")
        redis = _kubectl("exec", "deployment/redis", "--", "redis-server", "--version")
        return f"Kubernetes {kubernetes}", database.strip(), redis.strip()

    async def load(self, *, rate: float, seconds: float, run: str, path: str) -> Ledger:
        """Create users from the client's pod."""
        options = (f"--rate={rate}", f"--seconds={seconds}", f"--run={run}", f"--path={path}")
        told = await asyncio.to_thread(
            _in_client, "benchmarks.fastapi.client", "http://fastapi-app", *options, timeout_s=seconds + 120
        )
        return Ledger.from_json(json.loads(told))

    async def inflict(self, fault: Fault) -> bool:
        """Kill processes within their pods; delete a pod where a worker is to be asked to stop."""
        return await asyncio.to_thread(self._inflict, fault)

    async def left(self) -> tuple[int, int]:
        """Jobs that are committed and not yet in Redis, and those in Redis."""
        waiting, queued = json.loads(await self._records("left"))
        return waiting, queued

    async def records(self) -> Records:
        """What is left."""
        return records.from_json(json.loads(await self._records("read")))

    async def empty(self) -> None:
        """Forget all users, mails and counts."""
        await self._records("empty")

    async def until_ready(self) -> None:
        """Wait for all pods.

        Raises:
            NotReadyError: They are not ready in time.
        """
        for name in ("postgres", "redis", "fastapi-app"):
            await asyncio.to_thread(_rolled_out, name)
        deadline = time.monotonic() + READY_S
        while len(await asyncio.to_thread(_ready_pods, "arqube.dev/taskqueue=fast")) < WORKERS:
            if time.monotonic() > deadline:
                raise NotReadyError(f"no {WORKERS} workers within {READY_S} s:\n{_kubectl('describe', 'taskqueue')}")
            await asyncio.sleep(1)

    async def _records(self, what: str) -> str:
        return await asyncio.to_thread(_in_client, "benchmarks.fastapi.records", what, DATABASE_URL, REDIS_URL)

    def _inflict(self, fault: Fault) -> bool:
        if fault is Fault.WORKER_TERMINATED:
            pods = _ready_pods("arqube.dev/taskqueue=fast")
            if pods:
                _kubectl("delete", "pod", pods[next(self._victims) % len(pods)], "--wait=false")
            return bool(pods)
        selector, program, number = {
            Fault.DATABASE_KILLED: ("app.kubernetes.io/name=postgres", "postgres", "-KILL"),
            Fault.DATABASE_STOPPED: ("app.kubernetes.io/name=postgres", "postgres", "-QUIT"),
            Fault.REDIS_KILLED: ("app.kubernetes.io/name=redis", "redis-server", "-KILL"),
            Fault.REDIS_RESTARTED: ("app.kubernetes.io/name=redis", "redis-server", "-TERM"),
            Fault.API_KILLED: ("app.kubernetes.io/name=fastapi-app", "uvicorn", "-KILL"),
            Fault.WORKER_KILLED: ("arqube.dev/taskqueue=fast", "arqube-worker", "-KILL"),
        }[fault]
        pods = _ready_pods(selector)
        return bool(pods) and _kill_in(pods[next(self._victims) % len(pods)], program, number)


@asynccontextmanager
async def staged() -> AsyncIterator[Kubernetes]:
    """Put all of it on the cluster, and take it away again.

    Raises:
        SystemExit: The cluster has what would be overwritten, or something does not become ready.
    """
    if run("kubectl", "get", "customresourcedefinition", DEFINITION, "--ignore-not-found", "--output=name").strip():
        raise SystemExit(f"the cluster has {DEFINITION} already: take one without Arqube")
    builder = Builder.find()
    operator = builder.image(f"arqube-operator:{TAG}", ROOT, f"--file={ROOT}/Dockerfile.operator")
    worker = builder.image(f"arqube-worker:{TAG}", ROOT, f"--file={ROOT}/Dockerfile.worker")
    app = builder.image(f"fastapi-app:{TAG}", EXAMPLE, f"--build-arg=WORKER_IMAGE={worker}")
    bench = builder.image(
        f"arqube-fastapi-bench:{TAG}", HERE, f"--file={HERE}/bench/Dockerfile", f"--build-arg=APP_IMAGE={app}"
    )
    base = os.environ.get("DEBIAN_IMAGE", "docker.io/library/debian:trixie-slim")
    services = builder.image(f"arqube-fastapi-services:{TAG}", HERE / "services", f"--build-arg=DEBIAN_IMAGE={base}")
    for image in (operator, bench, services):
        builder.bring(image)
    try:
        _install(operator, worker)
        run("kubectl", "create", "namespace", WORK)
        run("kubectl", "label", "namespace", WORK, "pod-security.kubernetes.io/enforce=restricted")
        text = Template((HERE / "objects/services.yaml").read_text()).substitute(services=services, bench=bench)
        _kubectl("apply", "--filename=-", stdin=text)
        _rolled_out("postgres")
        _rolled_out("redis")
        for body in (*_api(bench), _task_queue(bench)):
            _kubectl("apply", "--filename=-", stdin=json.dumps(body))
        _rolled_out("fastapi-app")
        _kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=120s")
        yield Kubernetes()
    finally:
        _remove()


def _api(image: str) -> Iterator[dict[str, Any]]:
    """The example's own objects, with this run's image and database."""
    for body in yaml.safe_load_all((EXAMPLE / "api.yaml").read_text()):
        if body["kind"] == "Secret":
            body["stringData"]["DATABASE_URL"] = DATABASE_URL
        if body["kind"] == "Deployment":
            pod = body["spec"]["template"]["spec"]
            pod["shareProcessNamespace"] = True
            (container,) = pod["containers"]
            container["image"] = image
            container["command"][1] = "bench_api:app"
        yield body


def _task_queue(image: str) -> dict[str, Any]:
    """The example's fast queue, with this run's image and settings."""
    body: dict[str, Any] = next(iter(yaml.safe_load_all((EXAMPLE / "taskqueues.yaml").read_text())))
    body["spec"]["redis"]["host"] = f"redis.{WORK}"
    body["spec"]["worker"].update(image=image, settings="bench_worker.WorkerSettings")
    body["spec"]["worker"]["podTemplate"]["spec"]["shareProcessNamespace"] = True
    body["spec"]["scaling"] = {"minReplicas": WORKERS, "maxReplicas": WORKERS + 1}
    body["spec"]["shutdown"] = {"timeout": "10s"}
    return body


def _kill_in(pod: str, program: str, number: str) -> bool:
    """Signal a program in a pod; whether its container has ended of it."""
    before = _restarts(pod)
    _kubectl("exec", pod, "--", "sh", "-c", KILL, program, number, check=False)
    deadline = time.monotonic() + STRUCK_S
    while time.monotonic() < deadline:
        if _restarts(pod) > before:
            return True
        time.sleep(0.5)
    return False


def _restarts(pod: str) -> int:
    """How often the containers of a pod have ended."""
    statuses = json.loads(_kubectl("get", "pod", pod, "--output=json")).get("status", {}).get("containerStatuses", ())
    return sum(each["restartCount"] + ("terminated" in each["state"]) for each in statuses)


def _ready_pods(selector: str) -> list[str]:
    pods = json.loads(_kubectl("get", "pods", f"--selector={selector}", "--output=json"))["items"]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and all(each["ready"] for each in pod["status"].get("containerStatuses", [{"ready": False}]))
    ]


def _in_client(module: str, *arguments: str, timeout_s: float = 60) -> str:
    return _kubectl("exec", "client", "--", "python", "-m", module, *arguments, timeout_s=timeout_s)


def _kubectl(*arguments: str, **options: Any) -> str:
    return run("kubectl", f"--namespace={WORK}", *arguments, **options)


def _rolled_out(deployment: str) -> None:
    _kubectl("rollout", "status", f"deployment/{deployment}", f"--timeout={READY_S}s", timeout_s=READY_S + 10)


def _install(operator: str, worker: str) -> None:
    values = ["replicas=1", "crds.keep=false"]
    for value, image in {"image": operator, "runtime.image": worker}.items():
        repository, _, tag = image.rpartition(":")
        values += [f"{value}.repository={repository}", f"{value}.tag={tag}"]
    command = ("helm", "install", RELEASE, str(ROOT / "charts/arqube"), f"--namespace={SYSTEM}", "--create-namespace")
    run(*command, "--wait", "--timeout=180s", *(f"--set={value}" for value in values), timeout_s=240)


def _remove() -> None:
    """Take away all of it, also when only a part was there."""
    ignore = "--ignore-not-found"
    run("kubectl", "delete", "taskqueues", "--all", f"--namespace={WORK}", check=False)
    run("kubectl", "delete", "namespace", WORK, ignore, "--timeout=170s", check=False)
    run("helm", "uninstall", RELEASE, f"--namespace={SYSTEM}", "--ignore-not-found", "--wait", check=False)
    run("kubectl", "delete", "namespace", SYSTEM, ignore, "--timeout=170s", check=False)
    run("kubectl", "delete", "customresourcedefinition", DEFINITION, ignore, check=False)


if __name__ == "__main__":
    sys.exit(command("python -m benchmarks.fastapi.kubernetes", __doc__, staged))
