"""What the contract suite runs on: the fake API server always, and a real one where its binaries are at hand."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import KubeClient, Resource
from builders.api_objects import NAMESPACES, WIDGETS
from builders.api_servers import ASSETS, REAL_IS_AT_HAND, Server, fake_server, real_server, run_kubectl
from builders.operator_process import OperatorProcess
from builders.stand_in_workers import StandInWorkers

ran_on: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ran_on:
        missing = "" if REAL_IS_AT_HAND else f" only (no kube-apiserver and etcd in {ASSETS})"
        terminalreporter.write_line(f"contract suite: {', '.join(ran_on)}{missing}")


@dataclass(frozen=True)
class Api:
    """A server under test and a client of it."""

    kind: str
    kubeconfig: Path
    client: KubeClient

    def kubectl(self, *arguments: str, body: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl on it; a ``body`` is its standard input."""
        return run_kubectl(self.kubeconfig, *arguments, body=body)


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
        ran_on.append(started.name)
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


@pytest.fixture(scope="session")
def operator_process(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., OperatorProcess]:
    """Makes operators, yet to be started.

    Of a kubeconfig, the name of their Lease, the namespaces they watch, and further variables of their environment.
    """
    return partial(OperatorProcess, tmp_path_factory.mktemp("operators"))


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
