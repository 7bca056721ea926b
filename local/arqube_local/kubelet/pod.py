"""Run one pod: take it on, run its containers, write its status, see it to its end."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from arqube_local.kubelet.container import RETRY_S, ContainerRunner, Host
from arqube_local.kubelet.events import FIELD_MANAGER
from arqube_local.kubelet.ports import HostPorts
from arqube_local.kubelet.probes import Ports
from arqube_local.kubelet.status import ContainerState, pod_status
from arqube_local.kubelet.volumes import MountError, mounts, provide
from arqube_operator.kube.client import PODS, ApiError

PORTS_ANNOTATION: Final = "arqube.dev/local-ports"
FORCED_GRACE_S: Final = 2.0
"""For a pod whose object has gone before its processes."""
STATUS_RETRY_S: Final = 0.5
NOT_FOUND: Final = 404
TERMINATION_LOGS: Final = ".termination"
"""A folder beside those of the volumes, whose names are DNS labels."""

log = structlog.get_logger(__name__)


class PodRunner:
    """A pod on this machine, from when the kubelet first sees it until its object and processes are gone."""

    def __init__(self, host: Host, pod: dict[str, Any], host_ports: HostPorts) -> None:
        self._host = host
        self._pod = pod
        self._host_ports = host_ports
        self._inits: tuple[ContainerRunner, ...] = ()
        self._containers: tuple[ContainerRunner, ...] = ()
        self._stopping = asyncio.Event()
        self._grace_s = 0.0
        self._changed = asyncio.Event()
        self._started = time.time()
        self._status: dict[str, Any] = {}
        self._exists = True
        self.update(pod)

    @property
    def _key(self) -> tuple[str, str]:
        return self._pod["metadata"]["namespace"], self._pod["metadata"]["name"]

    def update(self, pod: dict[str, Any]) -> None:
        """Take note of the object as it is now; a deletion timestamp stops the pod."""
        self._pod = pod
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            self.stop(metadata.get("deletionGracePeriodSeconds", self.grace_s))

    def gone(self) -> None:
        """The object has gone, by force: so must the processes."""
        self._exists = False
        self.stop(FORCED_GRACE_S)

    def lost(self) -> None:
        """The node has died: the processes are gone at once, and nobody is told."""
        self._exists = False
        self.stop(0.0)

    @property
    def grace_s(self) -> float:
        """Seconds between SIGTERM and SIGKILL that the pod asks for."""
        return float(self._pod["spec"].get("terminationGracePeriodSeconds", 30))

    def stop(self, grace_s: float) -> None:
        """Stop all containers for good, with SIGKILL after ``grace_s``; later calls can only bring that forward."""
        self._grace_s = min(grace_s, self._grace_s) if self._stopping.is_set() else grace_s
        self._stopping.set()
        for container in (*self._inits, *self._containers):
            container.stop(self._grace_s)

    async def run(self) -> None:
        """Run the pod to its end."""
        folder = self._host.state_folder / "pods" / self._pod["metadata"]["uid"]
        ports: Ports = {}
        try:
            ports = await self._take_on()
            if (folders := await self._mount(folder)) is not None:
                await self._run_containers(ports, folders, folder / TERMINATION_LOGS)
        finally:
            for port in ports.values():
                self._host_ports.release(port)
            shutil.rmtree(folder, ignore_errors=True)
        if self._exists and "deletionTimestamp" in self._pod["metadata"]:
            await self._delete()

    async def _take_on(self) -> Ports:
        declared = [port["containerPort"] for each in self._pod["spec"]["containers"] for port in each.get("ports", [])]
        ports = {port: self._host_ports.take() for port in dict.fromkeys(declared)}
        if self._stopping.is_set():
            return ports
        if ports:
            annotations = {"annotations": {PORTS_ANNOTATION: json.dumps({str(key): ports[key] for key in ports})}}
            await self._insist(
                lambda: self._host.client.patch_metadata(PODS, *self._key, annotations, field_manager=FIELD_MANAGER)
            )
        for kind in self._unsupported():
            await self._event("Unsupported", f"the process kubelet does not run {kind}", warning=True)
        return ports

    def _unsupported(self) -> list[str]:
        spec = self._pod["spec"]
        found = ["ephemeralContainers"] if spec.get("ephemeralContainers") else []
        sidecars = [each for each in spec.get("initContainers", []) if each.get("restartPolicy") == "Always"]
        return [*found, "initContainers with restartPolicy Always"] if sidecars else found

    async def _mount(self, folder: Path) -> dict[str, Path] | None:
        """The folders of the volumes, once they can be provided; None if the pod is stopped before."""
        while not self._stopping.is_set():
            try:
                return await provide(self._host.client, self._pod, folder)
            except MountError as error:
                await self._event("FailedMount", f"MountVolume.SetUp failed: {error}", warning=True)
            except ApiError as error:
                log.warning("volumes_not_read", pod=self._key, error=str(error))
            await self._write_status(
                *(
                    tuple(ContainerState(each["name"], each["image"]) for each in self._pod["spec"].get(field, []))
                    for field in ("initContainers", "containers")
                )
            )
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_S):
                    await self._stopping.wait()
        return None

    async def _run_containers(self, ports: Ports, folders: dict[str, Path], logs: Path) -> None:
        def runner(container: dict[str, Any], *, init: bool) -> ContainerRunner:
            return ContainerRunner(
                self._host,
                self._pod,
                container,
                ports=ports,
                folders=mounts(container, folders),
                termination_log=logs / container["name"],
                init=init,
                on_change=self._changed.set,
            )

        spec = self._pod["spec"]
        self._inits = tuple(
            runner(each, init=True) for each in spec.get("initContainers", []) if each.get("restartPolicy") != "Always"
        )
        self._containers = tuple(runner(each, init=False) for each in spec["containers"])
        self._changed.set()
        publishing = asyncio.create_task(self._publish())
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._run_in_order())
                await self._stopping.wait()
                if "deletionTimestamp" in self._pod["metadata"]:
                    for container in self._containers:
                        await self._event("Killing", f"Stopping container {container.state.name}")
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])
        await self._show_containers()

    async def _run_in_order(self) -> None:
        """One init container after the other, each until it has succeeded; then the containers, all at once."""
        for container in self._inits:
            await container.run()
            if not container.succeeded:
                return
        async with asyncio.TaskGroup() as tasks:
            for container in self._containers:
                tasks.create_task(container.run())

    async def _show_containers(self) -> bool:
        return await self._write_status(*(tuple(one.state for one in part) for part in (self._inits, self._containers)))

    async def _publish(self) -> None:
        """Write the status whenever a container's state has changed."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not await self._show_containers():
                await asyncio.sleep(STATUS_RETRY_S)
                self._changed.set()

    async def _write_status(self, inits: tuple[ContainerState, ...], containers: tuple[ContainerState, ...]) -> bool:
        """Whether the status stands in the object, or there is no object any more."""
        policy = self._pod["spec"].get("restartPolicy", "Always")
        status = pod_status(containers, policy, self._status, inits=inits, start_time=self._started, now=time.time())
        if status == self._status or not self._exists:
            return True
        try:
            await self._host.client.patch_status(PODS, *self._key, status, field_manager=FIELD_MANAGER)
        except ApiError as error:
            log.debug("status_not_written", pod=self._key, error=str(error))
            return error.status == NOT_FOUND
        self._status = status
        return True

    async def _insist(self, request: Any) -> None:
        """Make a request until it goes through, the object has gone, or the pod is stopped."""
        while self._exists and not self._stopping.is_set():
            try:
                await request()
            except ApiError as error:
                if error.status == NOT_FOUND:
                    return
                log.warning("request_failed", pod=self._key, error=str(error))
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _delete(self) -> None:
        """Let the object go: its processes have gone."""
        while self._exists:
            try:
                await self._host.client.delete(PODS, *self._key, grace_period_s=0)
            except ApiError as error:
                if error.status == NOT_FOUND:
                    return
                log.warning("pod_not_deleted", pod=self._key, error=str(error))
                await asyncio.sleep(STATUS_RETRY_S)
            else:
                return

    async def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        await self._host.events.record(self._pod, reason, message, warning=warning)
