"""A whole cluster on this machine: API server, controllers, kubelet, Redis and the real operator, in one call."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp
import yaml

from arqube_local.apiserver import FakeApiServer
from arqube_local.controllers.manager import ControllerManager
from arqube_local.kubelet.kubelet import Kubelet
from arqube_local.loopback import free_port
from arqube_local.processes.guard import GuardedProcess, ProcessGuard
from arqube_local.redis_server import RedisServer
from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.kube.client import TASK_QUEUES, ApiError, KubeClient, Resource

CRDS: Final = Resource(
    "apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
NAMESPACES: Final = Resource("v1", "namespaces", "Namespace", namespaced=False)

FIELD_MANAGER: Final = "arqube-local"
NAMESPACE: Final = "default"
START_S: Final = 30.0
"""Longest wait for the operator to be ready."""
STOP_S: Final = 20.0
"""Longest grace period of a pod, and of the operator, when the cluster stops."""
POLL_S: Final = 0.05


class ClusterError(Exception):
    """The cluster did not start; the message says what to look at."""


class LaptopCluster:
    """A context manager: the cluster runs until it is left; then every process of it has ended.

    Args:
        state_dir: For the kubeconfig, logs and volumes; made if missing.
        app_dir: Where pods run: the folder with the user's code.
        api_port: Of the API server; a free one if None.
        redis_port: Of Redis; a free one if None.
        console_port: Of the operator's console; None if there shall be none.
        operator: Whether the operator runs; the controllers and the kubelet always do.
        stop_s: Longest grace period of a pod, in seconds, when the cluster stops.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        app_dir: Path,
        api_port: int | None = None,
        redis_port: int | None = None,
        console_port: int | None = None,
        operator: bool = True,
        stop_s: float = STOP_S,
    ) -> None:
        self.state_dir = state_dir.resolve()
        self.kubeconfig = str(self.state_dir / "kubeconfig")
        self.logs = self.state_dir / "logs"
        self.api = FakeApiServer(port=api_port)
        self.redis = RedisServer(port=redis_port, folder=self.state_dir / "redis")
        self.client: KubeClient
        """A client of the API server, once the cluster has started."""
        self.kubelet: Kubelet
        """The node, once the cluster has started; it can be made to die."""
        self.operator_port = free_port()
        """Of the operator's /metrics, /healthz and /readyz."""
        self.console_port = console_port
        self.console_token = self.state_dir / "console-token"
        """The file with the token for writes in the console, if there is one."""
        self.operator: GuardedProcess | None = None
        self._app_dir = app_dir.resolve()
        self._with_operator = operator
        self._stop_s = stop_s
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> LaptopCluster:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self.state_dir / "pods", ignore_errors=True)  # of a cluster that was killed
        guard = self._stack.enter_context(ProcessGuard())
        await self._start_redis(guard)
        await self.api.start()
        self._stack.push_async_callback(self.api.stop)
        self._write_kubeconfig()
        self.client = await KubeClient.from_config(self.kubeconfig)
        self._stack.push_async_callback(self.client.close)
        await self._install()
        controllers = asyncio.create_task(ControllerManager(self.client).run())
        self._stack.push_async_callback(_cancel, controllers)
        self.kubelet = await self._stack.enter_async_context(
            Kubelet(
                self.client,
                guard,
                app_folder=self._app_dir,
                state_folder=self.state_dir,
                stop_s=self._stop_s,
            )
        )
        if self._with_operator:
            await self._start_operator(guard)

    def _write_kubeconfig(self) -> None:
        Path(self.kubeconfig).write_text(yaml.safe_dump(self.api.kubeconfig()))

    async def _start_redis(self, guard: ProcessGuard) -> None:
        await asyncio.to_thread(self.redis.start)
        pid = self.redis.pid

        async def stop() -> None:
            await asyncio.to_thread(self.redis.stop)
            if pid is not None:
                guard.forget(pid)

        self._stack.push_async_callback(stop)
        if pid is not None:
            guard.watch(pid)

    async def _install(self) -> None:
        """Install the CRD and wait until its kind is served."""
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        await self.client.apply(NAMESPACES, None, NAMESPACE, namespace, field_manager=FIELD_MANAGER)
        crd = custom_resource_definition()
        await self.client.apply(CRDS, None, crd["metadata"]["name"], crd, field_manager=FIELD_MANAGER)
        deadline = time.monotonic() + START_S
        while True:
            try:
                await self.client.list(TASK_QUEUES, NAMESPACE)
            except ApiError as error:
                if time.monotonic() > deadline:
                    raise ClusterError(f"the API server does not serve TaskQueues: {error}") from error
                await asyncio.sleep(POLL_S)
            else:
                return

    async def _start_operator(self, guard: ProcessGuard) -> None:
        log = self.logs / "operator.log"
        log.unlink(missing_ok=True)
        environment = {
            # Settings of an operator elsewhere, exported in this shell, are not for this one.
            **{name: value for name, value in os.environ.items() if not name.startswith("ARQUBE_")},
            "KUBECONFIG": self.kubeconfig,
            "ARQUBE_OPERATOR_NAMESPACE": NAMESPACE,
            "ARQUBE_HTTP_PORT": str(self.operator_port),
            "PYTHONUNBUFFERED": "1",
            **self._console(),
        }
        self.operator = await guard.start(
            [sys.executable, "-m", "arqube_operator"], environment=environment, folder=self.state_dir, log=log
        )
        self._stack.push_async_callback(self._stop_operator, self.operator)
        deadline = time.monotonic() + START_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while not await self._operator_ready(session):
                if not self.operator.running or time.monotonic() > deadline:
                    raise ClusterError(f"the operator did not get ready; the end of {log}:\n{_tail(log)}")
                await asyncio.sleep(POLL_S)

    def _console(self) -> dict[str, str]:
        """The operator's variables for its console, with a token of this run."""
        if self.console_port is None:
            return {}
        self.console_token.touch(mode=0o600)
        self.console_token.write_text(secrets.token_hex(16))
        return {
            "ARQUBE_CONSOLE_PORT": str(self.console_port),
            "ARQUBE_CONSOLE_TOKEN_FILE": str(self.console_token),
            "ARQUBE_CONSOLE_SHOW_ARGUMENTS": "true",
        }

    async def _operator_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"http://127.0.0.1:{self.operator_port}/readyz") as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _stop_operator(self, operator: GuardedProcess) -> None:
        operator.stop(self._stop_s)
        await operator.wait()


async def _cancel(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


def _tail(path: Path) -> str:
    return path.read_text(errors="replace")[-2000:]
