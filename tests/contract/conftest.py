"""The API servers that the contract suite runs on: always the fake, and a real one where its binaries are at hand.

As with Kubernetes' envtest they are looked up in ``$KUBEBUILDER_ASSETS``, by default ``/usr/local/kubebuilder/bin``:
kube-apiserver and etcd, and kube-controller-manager for the garbage collector.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from arqube_local.apiserver import FakeApiServer
from arqube_local.apiserver.faults import Faults
from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.decide.manifest import DELETION_COST_ANNOTATION, TASK_QUEUE_LABEL
from arqube_operator.kube.client import DEPLOYMENTS, PODS, ApiError, KubeClient, Resource
from arqube_queue import heartbeat
from arqube_queue.model import Heartbeat

ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin")
REAL_IS_AT_HAND = all((ASSETS / name).exists() for name in ("kube-apiserver", "etcd"))
CRDS = Path(__file__).parents[2] / "crds"
START_TIMEOUT_S = 60.0
TOKEN = "contract-suite"  # noqa: S105 - of a server that lives as long as the tests

NAMESPACES = Resource("v1", "namespaces", "Namespace", namespaced=False)
WIDGETS = Resource("contract.arqube.dev/v1", "widgets", "Widget")
"""A custom kind of the suite's own, ``widgets.yaml``: it has what ours have, and what ours might come to have."""

ran_on: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ran_on:
        missing = "" if REAL_IS_AT_HAND else f" only (no kube-apiserver and etcd in {ASSETS})"
        terminalreporter.write_line(f"contract suite: {', '.join(ran_on)}{missing}")


@dataclass(frozen=True)
class Server:
    kind: str
    kubeconfig: Path
    faults: Faults | None = None
    """What the fake is to do wrong; a real server fails only when it must."""


@dataclass(frozen=True)
class Api:
    """A server under test and a client of it."""

    kind: str
    kubeconfig: Path
    client: KubeClient

    def kubectl(self, *arguments: str, body: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl on it; a ``body`` is its standard input."""
        return run_kubectl(self.kubeconfig, *arguments, body=body)


def run_kubectl(
    kubeconfig: Path, *arguments: str, body: Mapping[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
        input=json.dumps(body) if body is not None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="session", autouse=True)
def kubectl_of_this_environment() -> Iterator[None]:
    """The kubectl that was installed with the tests, if there is one, whether or not its environment is active."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
        yield


@pytest.fixture(scope="session", params=["fake", *(["real"] if REAL_IS_AT_HAND else [])])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kubectl_of_this_environment: None
) -> Iterator[Server]:
    """One server for the whole run, with all of ``crds/`` and the suite's own kind installed."""
    folder = tmp_path_factory.mktemp(f"{request.param}-api-server")
    with (fake_server if request.param == "fake" else real_server)(folder) as started:
        yield started


@pytest_asyncio.fixture
async def api(server: Server) -> AsyncIterator[Api]:
    """The server in turn with a client of it."""
    client = await KubeClient.from_config(str(server.kubeconfig))
    yield Api(server.kind, server.kubeconfig, client)
    await client.close()


@pytest.fixture
def widgets() -> Resource:
    return WIDGETS


@pytest_asyncio.fixture
async def namespace(api: Api) -> str:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await api.client.create(NAMESPACES, None, body, field_manager="test")
    return name


class OperatorProcess:
    """``arqube-operator`` as a pod would run it."""

    def __init__(self, folder: Path, kubeconfig: Path, lease: str, namespaces: str = "", **variables: str) -> None:
        self.port = free_port()
        self.log = folder / f"operator-{self.port}.log"
        self._kubeconfig = kubeconfig
        self._lease = lease
        self._namespaces = namespaces
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> OperatorProcess:
        environment = {
            **os.environ,
            "KUBECONFIG": str(self._kubeconfig),
            "ARQUBE_HTTP_PORT": str(self.port),
            "ARQUBE_OPERATOR_IDENTITY": f"operator-{self.port}",
            "ARQUBE_LEASE_NAME": self._lease,
            "ARQUBE_WATCH_NAMESPACES": self._namespaces,
            **self._variables,
        }
        with self.log.open("wb") as output:
            command = [sys.executable, "-m", "arqube_operator"]
            self._process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        return self

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Signal the process, if it runs, and wait for its end; its exit code."""
        if self._process is None:
            return 0
        self._process.send_signal(number)
        return self._process.wait(20)

    async def metrics(self) -> str:
        try:
            return await asyncio.to_thread(self.get, "/metrics")
        except OSError:
            return ""

    async def leads(self) -> bool:
        return "arqube_operator_leader 1.0" in await self.metrics()

    @property
    def pid(self) -> int:
        """Of the process, once it was started."""
        assert self._process is not None
        return self._process.pid

    def get(self, path: str) -> str:
        """The answer of an endpoint; an ``OSError`` where there is none, or none that is good."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


@pytest.fixture(scope="session")
def operator_process(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., OperatorProcess]:
    """Makes operators, yet to be started.

    Of a kubeconfig, the name of their Lease, the namespaces they watch, and further variables of their environment.
    """
    return partial(OperatorProcess, tmp_path_factory.mktemp("operators"))


class StandInWorkers:
    """Kubernetes' controllers and the worker pods of one TaskQueue, neither of which runs here.

    As many ready pods as the Deployment asks for, that write heartbeats and heed retirement. ``busy`` and ``cron_runs``
    are what they tell. ``heeds`` false makes them slow to retire.
    """

    def __init__(self, client: KubeClient, redis: Redis, name: str, queue: str) -> None:
        self.busy: dict[str, int] = {}
        self.cron_runs: dict[str, int] = {}
        self.heeds = True
        self.pods: list[str] = []
        self.costs: dict[str, str] = {}
        """The deletion costs that pods had when they were taken, or have."""
        self._asked: dict[str, bool] = {}
        self._client, self._redis, self._name, self._queue = client, redis, name, queue
        self._numbers = count(1)
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop writing; the pods go."""
        self._stopped.set()
        await self._task
        for pod in list(self.pods):
            await self._delete(pod)

    async def _run(self) -> None:
        while not self._stopped.is_set():
            live = await self._client.get(DEPLOYMENTS, "default", f"{self._name}-worker")
            if live is not None:
                try:
                    await self._follow(live)
                except ApiError as error:
                    if error.status != 404:  # The Deployment went meanwhile.
                        raise
            for pod in self.pods:
                await self._beat(pod)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._stopped.wait()

    async def _follow(self, live: Mapping[str, Any]) -> None:
        wanted = live["spec"]["replicas"]
        while len(self.pods) < wanted:
            await self._create(live)
        if len(self.pods) > wanted:
            listed, _ = await self._client.list(PODS, "default", label_selector=f"{TASK_QUEUE_LABEL}={self._name}")
            costs = {
                pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(DELETION_COST_ANNOTATION, "0")
                for pod in listed
            }
            self.costs |= costs
            for pod in sorted(self.pods, key=lambda pod: int(costs[pod]))[: len(self.pods) - wanted]:
                await self._delete(pod)
        status = {"replicas": wanted, "readyReplicas": wanted, "updatedReplicas": wanted}
        if any(live.get("status", {}).get(field, 0) != value for field, value in status.items()):
            await self._client.patch_status(
                DEPLOYMENTS, "default", live["metadata"]["name"], status, field_manager="test"
            )

    async def _create(self, live: Mapping[str, Any]) -> None:
        name = f"{self._name}-worker-{next(self._numbers)}"
        labels = live["spec"]["template"]["metadata"]["labels"] | {"pod-template-hash": "1"}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "worker", "image": "app:1"}]},
        }
        await self._client.create(PODS, "default", body, field_manager="test")
        # Ready for a while, so that the operator takes it to have told its cron jobs.
        since = datetime.fromtimestamp(time.time() - 10, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
        await self._client.patch_status(PODS, "default", name, {"conditions": [ready]}, field_manager="test")
        self.pods.append(name)

    async def _delete(self, pod: str) -> None:
        self.pods.remove(pod)
        with suppress(ApiError):
            await self._client.delete(PODS, "default", pod)
        await heartbeat.remove(self._redis, self._queue, pod)

    async def _beat(self, pod: str) -> None:
        told = Heartbeat(
            worker=pod,
            at_ms=0,
            busy=self.busy.get(pod, 0),
            slots=10,
            retiring=self._asked.get(pod, False),
            cron_runs=self.cron_runs,
        )
        asked = await heartbeat.write(self._redis, self._queue, told)
        self._asked[pod] = asked and self.heeds


@pytest_asyncio.fixture
async def stand_in(api: Api, redis_server: RedisServer) -> AsyncIterator[Callable[[str], StandInWorkers]]:
    """Run the workers of the TaskQueue of that name, whose queue has the same."""
    redis = redis_server.address.connect()
    started: list[StandInWorkers] = []

    def start(name: str) -> StandInWorkers:
        started.append(StandInWorkers(api.client, redis, name, name))
        return started[-1]

    yield start
    for workers in started:
        await workers.stop()
    await redis.aclose()


def install_definitions(kubeconfig: Path) -> None:
    """Install all of ``crds/`` and the suite's own kind."""
    definitions = ("-f", str(CRDS), "-f", str(Path(__file__).with_name("widgets.yaml")))
    for arguments in (("apply", *definitions), ("wait", "--for=condition=Established", "crd", "--all")):
        done = run_kubectl(kubeconfig, *arguments)
        assert done.returncode == 0, done.stderr


@contextmanager
def fake_server(folder: Path) -> Iterator[Server]:
    """The fake in a thread of its own, so that tests may block on kubectl."""
    fake = FakeApiServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake API server")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(fake.start(), loop).result(START_TIMEOUT_S)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(fake.kubeconfig()))
        install_definitions(kubeconfig)
        ran_on.append("fake")
        yield Server("fake", kubeconfig, fake.faults)
    finally:
        asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def real_server(
    folder: Path, prepare: Callable[[Path], None] = install_definitions, options: tuple[str, ...] = ()
) -> Iterator[Server]:
    """etcd, kube-apiserver and, if it is there, kube-controller-manager; on free ports of loopback.

    ``prepare`` is given the kubeconfig before the garbage collector starts. ``options`` are kube-apiserver's.
    """
    etcd, peers, port = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}", free_port()
    key, tokens, certificate = folder / "accounts.key", folder / "tokens.csv", folder / "apiserver.crt"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
    url = f"https://127.0.0.1:{port}"
    with ExitStack() as running:
        running.enter_context(
            process(
                folder,
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peers}",
                "--unsafe-no-fsync",
            )
        )
        running.enter_context(
            process(
                folder,
                "kube-apiserver",
                f"--etcd-servers={etcd}",
                f"--secure-port={port}",
                "--bind-address=127.0.0.1",
                f"--cert-dir={folder}",
                f"--token-auth-file={tokens}",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--authorization-mode=RBAC",
                # Its accounts are made by a controller that does not run here.
                "--disable-admission-plugins=ServiceAccount",
                *options,
            )
        )
        wait_until(lambda: certificate.exists() and get(f"{url}/readyz", certificate) == "ok", "kube-apiserver", folder)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_for(url, certificate)))
        version = json.loads(get(f"{url}/version", certificate))["gitVersion"]
        ran_on.append(f"real kube-apiserver {version}")
        # Before the garbage collector starts: it looks for new kinds twice a minute only.
        prepare(kubeconfig)
        if (ASSETS / "kube-controller-manager").exists():
            controllers = "--controllers=garbage-collector-controller,namespace-controller"
            ways = (f"--kubeconfig={kubeconfig}", controllers, "--leader-elect=false", "--secure-port=0")
            running.enter_context(process(folder, "kube-controller-manager", *ways))
        yield Server("real", kubeconfig)


@contextmanager
def process(folder: Path, name: str, *options: str) -> Iterator[None]:
    """Run one of the binaries, its log in ``folder``, until the end of the block."""
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen([ASSETS / name, *options], stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def kubeconfig_for(url: str, authority: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "real", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
        "current-context": "real",
    }


def get(url: str, authority: Path) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
    context = ssl.create_default_context(cafile=str(authority))
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
        text: str = answer.read().decode()
        return text


def wait_until(condition: Callable[[], bool], name: str, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"{name} did not start:\n{(folder / f'{name}.log').read_text()[-2000:]}")
