"""The kubelet of this machine: its Node, and a runner for every pod that the API server knows."""

from __future__ import annotations

import asyncio
import platform
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp
import structlog

from arqube_local.controllers.objects import NODE
from arqube_local.follow import follow
from arqube_local.kubelet.backoff import BackOff
from arqube_local.kubelet.container import Host
from arqube_local.kubelet.events import FIELD_MANAGER, EventRecorder
from arqube_local.kubelet.pod import PodRunner
from arqube_local.kubelet.ports import HostPorts
from arqube_local.kubelet.status import POD_IP
from arqube_local.processes.guard import ProcessGuard
from arqube_local.timestamps import to_timestamp
from arqube_operator.kube.client import PODS, KubeClient, Resource

NODES: Final = Resource("v1", "nodes", "Node", namespaced=False)
MAX_PODS: Final = 110
"""What the Node says it can run; the kubelet's default."""
STOP_S: Final = 30.0
TELL_S: Final = 10.0
"""Seconds beyond the grace periods to tell the API server that pods have ended, when the kubelet stops."""
ENDED: Final = ("Succeeded", "Failed")

log = structlog.get_logger(__name__)


class Kubelet:
    """Runs the pods of all namespaces as processes. A context manager; leaving it stops every pod.

    Args:
        client: Of the API server.
        guard: Starts the processes, and stops them should this process be killed.
        app_folder: Where containers run.
        state_folder: For logs and volumes.
        crash_back_off: Between restarts of a container that ends.
        image_back_off: Between pulls of an image that cannot be pulled.
        stop_s: Longest grace period, in seconds, that a pod gets when the kubelet itself stops.
    """

    def __init__(
        self,
        client: KubeClient,
        guard: ProcessGuard,
        *,
        app_folder: Path,
        state_folder: Path,
        crash_back_off: BackOff = BackOff(),  # noqa: B008 - frozen
        image_back_off: BackOff = BackOff(),  # noqa: B008 - frozen
        stop_s: float = STOP_S,
    ) -> None:
        self._host = Host(
            client=client,
            session=aiohttp.ClientSession(),
            guard=guard,
            events=EventRecorder(client, NODE),
            app_folder=app_folder.resolve(),
            state_folder=state_folder.resolve(),
            crash_back_off=crash_back_off,
            image_back_off=image_back_off,
        )
        self._stop_s = stop_s
        self._ports = HostPorts()
        self._runners: dict[str, PodRunner] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None
        self._dead = False

    async def __aenter__(self) -> Kubelet:
        await self._host.client.apply(NODES, None, NODE, _node(), field_manager=FIELD_MANAGER)
        await self._host.client.patch_status(NODES, None, NODE, _node_status(), field_manager=FIELD_MANAGER)
        self._follow()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        for runner in self._runners.values():
            runner.stop(min(runner.grace_s, self._stop_s))
        if self._tasks:
            _, late = await asyncio.wait(self._tasks.values(), timeout=self._stop_s + TELL_S)
            for task in late:  # The API server is away, and will not be told.
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._host.session.close()

    async def die(self) -> None:
        """Lose the node: all processes of its pods are gone at once, and nobody is told until ``revive``."""
        self._dead = True
        for runner in self._runners.values():
            runner.lost()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def revive(self) -> None:
        """Have the node back, empty: it runs what the API server has for it now."""
        self._dead = False
        if self._following is not None:
            self._following.cancel()
        self._follow()

    def _follow(self) -> None:
        self._following = asyncio.create_task(follow(self._host.client, PODS, self._on_list, self._on_event))

    def _on_list(self, pods: list[dict[str, Any]]) -> None:
        known = {pod["metadata"]["uid"] for pod in pods}
        for uid, runner in self._runners.items():
            if uid not in known:
                runner.gone()
        for pod in pods:
            self._see(pod)

    def _on_event(self, kind: str, pod: dict[str, Any]) -> None:
        if kind != "DELETED":
            self._see(pod)
        elif runner := self._runners.get(pod["metadata"]["uid"]):
            runner.gone()

    def _see(self, pod: dict[str, Any]) -> None:
        if self._dead:
            return
        uid = pod["metadata"]["uid"]
        if runner := self._runners.get(uid):
            runner.update(pod)
        elif pod.get("spec", {}).get("nodeName", NODE) == NODE and pod.get("status", {}).get("phase") not in ENDED:
            self._runners[uid] = PodRunner(self._host, pod, self._ports)
            self._tasks[uid] = asyncio.create_task(self._run(uid, self._runners[uid]))

    async def _run(self, uid: str, runner: PodRunner) -> None:
        try:
            await runner.run()
        except Exception:
            # One pod's failure is not the others'; its object stays, and says what was last true.
            log.exception("pod_failed", uid=uid)
        finally:
            del self._runners[uid], self._tasks[uid]


def _node() -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": NODE, "kubernetes.io/os": platform.system().lower()}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels}, "spec": {}}


def _node_status() -> dict[str, Any]:
    now = to_timestamp(time.time())
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "KubeletReady",
        "message": "the process kubelet runs pods as processes of this machine",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
    return {
        "capacity": {"pods": str(MAX_PODS)},
        "allocatable": {"pods": str(MAX_PODS)},
        "conditions": [ready],
        "addresses": [{"type": "InternalIP", "address": POD_IP}, {"type": "Hostname", "address": NODE}],
        "nodeInfo": {
            "kubeletVersion": "arqube-local",
            "operatingSystem": platform.system().lower(),
            "architecture": platform.machine(),
            "osImage": platform.platform(),
            "kernelVersion": platform.release(),
            "containerRuntimeVersion": "process://1",
        },
    }
