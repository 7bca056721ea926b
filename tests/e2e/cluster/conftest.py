"""The stage of the end-to-end run: a cluster, images on its nodes, the chart's release, a Redis and a queue's ledger.

`make e2e` runs it on the cluster of $KUBECONFIG, or on a new kind cluster when that is not set. Settings:

E2E_BUILD_COMMAND   in place of "docker build", "podman build" or "buildah build", whichever is there
E2E_LOAD_COMMAND    takes an image archive and brings it to the cluster's nodes; kind clusters need none
E2E_HELM            in place of "helm"
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool

ROOT = Path(__file__).parents[3]
LOGS = ROOT / "build" / "e2e"
SYSTEM, WORK = "arqube-e2e-system", "arqube-e2e"
RELEASE = "arqube"
CRD = "taskqueues.arqube.dev"
FIGURES: dict[str, Any] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if any(str(here.relative_to(ROOT)) in argument for argument in config.invocation_params.args):
        return
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs a cluster and takes minutes: run `make e2e`"))


def pytest_unconfigure() -> None:
    if FIGURES:
        print(json.dumps(FIGURES))  # noqa: T201 - the run's last line


def run(*command: str, stdin: str | None = None, timeout_s: float = 120, check: bool = True) -> str:
    """The command's output; fails the test with its error output."""
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s)
    if check and result.returncode != 0:
        pytest.fail(f"{shlex.join(command)}: exit {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-4000:]}")
    return result.stdout


class Kubectl:
    """kubectl on one cluster; ``kubectl("get", "pods")`` gives its output."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        os.environ["KUBECONFIG"] = kubeconfig

    def __call__(self, *arguments: str, **options: Any) -> str:
        return run("kubectl", *arguments, **options)

    def json(self, *arguments: str) -> dict[str, Any]:
        """What ``kubectl get`` finds; an empty dict when it does not exist."""
        text = self("get", *arguments, "--output=json", "--ignore-not-found")
        return json.loads(text) if text.strip() else {}

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects ``kubectl get`` lists."""
        return self.json(*arguments).get("items", [])

    def apply(self, *objects: dict[str, Any], namespace: str = WORK) -> None:
        """Apply objects, as users do."""
        documents = "\n---\n".join(json.dumps(body) for body in objects)
        self("apply", f"--namespace={namespace}", "--filename=-", stdin=documents)

    def condition(self, task_queue: str, kind: str) -> dict[str, Any]:
        """A condition of a TaskQueue; empty when it is not there yet."""
        status = self.json("taskqueue", task_queue, f"--namespace={WORK}").get("status", {})
        return next((one for one in status.get("conditions", ()) if one["type"] == kind), {})


@pytest.fixture(scope="session")
def figures() -> dict[str, Any]:
    """What the run measures; printed as JSON at its end."""
    return FIGURES


@pytest.fixture(scope="session")
def kubectl() -> Iterator[Kubectl]:
    """The cluster of $KUBECONFIG, or a kind cluster that goes again."""
    for tool in ("kubectl", helm()):
        if shutil.which(tool) is None:
            pytest.exit(f"{tool} is needed on PATH", returncode=2)
    if kubeconfig := os.environ.get("KUBECONFIG"):
        yield Kubectl(kubeconfig)
        return
    if shutil.which("kind") is None:
        pytest.exit("set KUBECONFIG to a cluster, or install kind", returncode=2)
    with tempfile.TemporaryDirectory(prefix="arqube-e2e-") as folder:
        kubeconfig = f"{folder}/kubeconfig"
        options = ("--name=arqube-e2e", f"--kubeconfig={kubeconfig}")
        run("kind", "create", "cluster", *options, "--wait=120s", timeout_s=600)
        try:
            yield Kubectl(kubeconfig)
        finally:
            run("kind", "delete", "cluster", *options, timeout_s=300)


@dataclass(frozen=True)
class Builder:
    """Builds images with the tool that is there and brings them to the cluster's nodes."""

    build: tuple[str, ...]
    tool: str
    load: tuple[str, ...]

    @classmethod
    def find(cls, kubectl: Kubectl) -> Builder:
        tools = [tool for tool in ("docker", "podman", "buildah") if _works(tool)]
        if not tools:
            pytest.exit("docker, podman or buildah is needed to build the images", returncode=2)
        build = tuple(shlex.split(os.environ.get("E2E_BUILD_COMMAND") or f"{tools[0]} build"))
        load = tuple(shlex.split(os.environ.get("E2E_LOAD_COMMAND", "")))
        context = kubectl("config", "current-context").strip()
        if not load and context.startswith("kind-"):
            load = ("kind", "load", "image-archive", f"--name={context.removeprefix('kind-')}")
        if not load:
            pytest.exit("set E2E_LOAD_COMMAND to what brings an image archive to the cluster's nodes", returncode=2)
        return cls(build, tools[0], load)

    def image(self, name: str, folder: Path, *options: str) -> str:
        """Build and load an image; gives its whole name, which means the same to every tool."""
        whole = f"docker.io/library/{name}"
        run(*self.build, f"--tag={whole}", *options, str(folder), timeout_s=900)
        with tempfile.TemporaryDirectory(prefix="arqube-e2e-") as archives:
            archive = f"{archives}/image.tar"
            save = {
                "docker": ("docker", "save", f"--output={archive}", whole),
                "podman": ("podman", "save", "--format=docker-archive", f"--output={archive}", whole),
                "buildah": ("buildah", "push", whole, f"docker-archive:{archive}:{whole}"),
            }[self.tool]
            run(*save, timeout_s=300)
            # A load may write where it likes, also into the archive's folder.
            run(*self.load, archive, timeout_s=300)
        return whole


def _works(tool: str) -> bool:
    return bool(shutil.which(tool)) and subprocess.run([tool, "info"], capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def images(kubectl: Kubectl) -> dict[str, str]:
    """The operator's, the runtime's, two versions of the ledger app and the example's app, on the cluster's nodes."""
    builder = Builder.find(kubectl)
    operator = builder.image("arqube-operator:e2e", ROOT, f"--file={ROOT}/Dockerfile.operator")
    worker = builder.image("arqube-worker:e2e", ROOT, f"--file={ROOT}/Dockerfile.worker")
    base, app = f"--build-arg=WORKER_IMAGE={worker}", ROOT / "tests/e2e/cluster/app"
    return {
        "operator": operator,
        "runtime": worker,
        "ledger:1": builder.image("arqube-e2e-ledger:1", app, base, "--build-arg=LEDGER_VERSION=1"),
        "ledger:2": builder.image("arqube-e2e-ledger:2", app, base, "--build-arg=LEDGER_VERSION=2"),
        "emails:1": builder.image("emails:1", ROOT / "examples/emails"),
    }


def helm() -> str:
    """The Helm to use."""
    return os.environ.get("E2E_HELM", "helm")


@dataclass
class Release:
    """The chart's release on the cluster."""

    values: tuple[str, ...]
    installed: bool = False

    def deploy(self, *values: str) -> str:
        """Install, or upgrade to other values; waits until the operators are ready. Gives the notes."""
        settings = [f"--set={value}" for value in (*self.values, *values)]
        command = ("upgrade", "--install", RELEASE, str(ROOT / "charts/arqube"), f"--namespace={SYSTEM}")
        output = run(helm(), *command, "--wait", "--timeout=180s", *settings, timeout_s=240)
        self.installed = True
        return output

    def uninstall(self) -> None:
        if self.installed:
            run(helm(), "uninstall", RELEASE, f"--namespace={SYSTEM}", "--wait", "--timeout=120s", timeout_s=180)
            self.installed = False


@pytest.fixture(scope="session")
def release(kubectl: Kubectl, images: dict[str, str], figures: dict[str, Any]) -> Iterator[Release]:
    """Helm installs the chart into a namespace of its own; all namespaces of the run enforce *restricted*."""
    if kubectl.json("customresourcedefinition", CRD):
        pytest.exit(f"the cluster has {CRD} already: the run would take over its TaskQueues", returncode=2)
    figures["kubernetes"] = kubectl.version = json.loads(kubectl("version", "--output=json"))["serverVersion"][
        "gitVersion"
    ]
    figures["helm"] = run(helm(), "version", "--short").strip()
    for namespace in (SYSTEM, WORK):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
        kubectl.apply(body, namespace="default")
    names = {"image": images["operator"], "runtime.image": images["runtime"]}
    parts = {value: name.rpartition(":") for value, name in names.items()}
    release = Release(
        tuple(
            f"{value}.{part}"
            for value, (name, _, tag) in parts.items()
            for part in (f"repository={name}", f"tag={tag}")
        )
    )
    try:
        release.deploy()
        yield release
    finally:
        kubectl("delete", "taskqueues", "--all", f"--namespace={WORK}", check=False)
        release.uninstall()
        kubectl("delete", "namespace", WORK, SYSTEM, "--timeout=120s", timeout_s=180)
        kubectl("delete", "customresourcedefinition", CRD, "--ignore-not-found")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and "release" in item.fixturenames and (kubectl := item.funcargs.get("kubectl")):
        _keep_logs(kubectl, LOGS / item.name)
    return report


def _keep_logs(kubectl: Kubectl, folder: Path) -> None:
    """For whoever looks into a failure."""
    folder.mkdir(parents=True, exist_ok=True)
    operators = ("logs", f"--namespace={SYSTEM}", "--selector=app.kubernetes.io/name=arqube-operator", "--prefix")
    workers = ("logs", f"--namespace={WORK}", "--selector=app.kubernetes.io/name=arqube-worker", "--prefix")
    commands = {
        "operators.log": (*operators, "--tail=-1"),
        "workers.log": (*workers, "--tail=-1", "--max-log-requests=50"),
        "taskqueues.yaml": ("get", "taskqueues", f"--namespace={WORK}", "--output=yaml"),
        "events.txt": ("get", "events", f"--namespace={WORK}", "--sort-by=.lastTimestamp"),
        "pods.txt": ("describe", "pods", "--all-namespaces", "--selector=app.kubernetes.io/name"),
    }
    for name, command in commands.items():
        (folder / name).write_text(kubectl(*command, check=False))


@pytest.fixture(scope="session")
def redis_port(kubectl: Kubectl, release: Release) -> Iterator[int]:
    """The example's Redis in the cluster, forwarded to a port of this machine."""
    kubectl("apply", f"--namespace={WORK}", f"--filename={ROOT}/examples/redis.yaml")
    kubectl("rollout", "status", "deployment/redis", f"--namespace={WORK}", "--timeout=120s", timeout_s=150)
    command = ("kubectl", "port-forward", f"--namespace={WORK}", "service/redis", ":6379")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        assert told, "kubectl port-forward named no port"
        # It tells of every connection: unread, it would block.
        reader = threading.Thread(target=process.stdout.read, daemon=True)
        reader.start()
        yield int(told[1])
        process.terminate()
        reader.join()


@pytest.fixture(scope="session")
def redis_host(kubectl: Kubectl, redis_port: int) -> str:
    """How pods reach that Redis: by address, as a cluster may have no DNS."""
    return kubectl.json("service", "redis", f"--namespace={WORK}")["spec"]["clusterIP"]


@pytest_asyncio.fixture
async def arq(redis_port: int) -> AsyncIterator[ArqRedis]:
    """A plain arq client, as an app has one."""
    pool = await create_pool(RedisSettings(port=redis_port, conn_timeout=10))
    yield pool
    await pool.aclose()


@dataclass
class Ledger:
    """The jobs of one queue: enqueues them, and reads what the app noted of each."""

    arq: ArqRedis
    queue: str
    enqueued: int = 0
    at_s: float = 0.0

    async def enqueue(self, durations_s: list[float]) -> None:
        """Enqueue a job a duration; ``at_s`` is when the first went in, by Redis's clock."""
        if not self.enqueued:
            seconds, microseconds = await self.arq.time()
            self.at_s = seconds + microseconds / 1e6
        for start in range(0, len(durations_s), 50):
            batch = durations_s[start : start + 50]
            await asyncio.gather(*(self.arq.enqueue_job("work", each, _queue_name=self.queue) for each in batch))
        self.enqueued += len(durations_s)

    async def runs(self, what: str) -> dict[str, int]:
        """Runs ``started`` or ``completed`` by job id, or completed by the app's version (``versions``)."""
        noted = await self.arq.hgetall(f"ledger:{self.queue}:{what}")
        return {name.decode(): int(count) for name, count in noted.items()}

    async def completed(self) -> int:
        """Jobs completed at least once."""
        return await self.arq.hlen(f"ledger:{self.queue}:completed")

    async def first_job_s(self) -> float | None:
        """Seconds from the first enqueue to the first start of a job."""
        first = await self.arq.get(f"ledger:{self.queue}:first")
        return round(float(first) - self.at_s, 2) if first else None

    async def account(self) -> dict[str, int]:
        """What became of the jobs; ``interrupted`` counts runs that began and did not complete."""
        started, completed = await self.runs("started"), await self.runs("completed")
        return {
            "enqueued": self.enqueued,
            "completed": len(completed),
            "lost": self.enqueued - len(completed),
            "run_twice": sum(count > 1 for count in completed.values()),
            "interrupted": sum(started.values()) - sum(completed.values()),
        }


@pytest.fixture
def ledger(arq: ArqRedis) -> Any:
    """``ledger("queue")``: the ledger of a queue."""
    return lambda queue: Ledger(arq, queue)


@dataclass
class DeploymentWatch:
    """Follows a Deployment through ``kubectl get --watch``: when it was first scaled up, and how far."""

    name: str
    scaled_at: float | None = None
    peak: int = 0
    peak_ready: int = 0

    def __enter__(self) -> DeploymentWatch:
        command = ("kubectl", "get", "deployment", self.name, f"--namespace={WORK}", "--watch", "--output=json")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.terminate()
        self._thread.join()
        self._process.__exit__(*error)

    def _follow(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text += line
            if line.rstrip() == "}":  # Each object ends with a brace in the first column.
                self._see(decoder.decode(text))
                text = ""

    def _see(self, body: dict[str, Any]) -> None:
        if body["spec"]["replicas"] and self.scaled_at is None:
            self.scaled_at = time.monotonic()
        status = body.get("status", {})
        self.peak = max(self.peak, body["spec"]["replicas"])
        self.peak_ready = max(self.peak_ready, status.get("readyReplicas", 0))


@pytest.fixture
def watch() -> type[DeploymentWatch]:
    """``with watch("NAME"):`` follows a Deployment."""
    return DeploymentWatch
