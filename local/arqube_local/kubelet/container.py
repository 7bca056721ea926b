"""Run one container of a pod as a process: start it, probe it, start it again, stop it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import aiohttp
import structlog

from arqube_local.kubelet.backoff import BackOff
from arqube_local.kubelet.environment import (
    ConfigError,
    Sources,
    data_of,
    environment,
    expand,
    in_folder,
    program_in_folder,
    references,
    with_folders,
    with_host_ports,
)
from arqube_local.kubelet.events import EventRecorder
from arqube_local.kubelet.images import pull_error
from arqube_local.kubelet.probes import Ports, Probe, ProbeState, ask, parse_probe
from arqube_local.kubelet.status import ContainerState, Running, Terminated, Waiting, exit_code
from arqube_local.kubelet.volumes import CONFIG_MAPS
from arqube_local.processes.guard import GuardedProcess, ProcessGuard
from arqube_operator.kube.client import SECRETS, ApiError, KubeClient

RETRY_S: Final = 2.0
"""Between looks at what a container refers to and misses."""
PULLING_S: Final = 1.0
"""How long ErrImagePull shows before ImagePullBackOff."""
START_ERROR: Final = 128
"""Exit code of a container whose program cannot be started, as containerd reports it."""

TERMINATION_LOG: Final = "/dev/termination-log"
"""Kubernetes' default of ``terminationMessagePath``."""
TERMINATION_MESSAGE_BYTES: Final = 4096

INHERITED: Final = ("HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "PYTHONPATH")
"""What a container gets of this machine's environment, beside PATH. Not the rest: a variable that is set in somebody's
shell must not be what makes a manifest work here, and a password there is none of the container's business."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Host:
    """What the containers of one kubelet share."""

    client: KubeClient
    session: aiohttp.ClientSession
    guard: ProcessGuard
    events: EventRecorder
    app_folder: Path
    """Where containers run."""
    state_folder: Path
    """Holds ``logs`` and ``pods``."""
    crash_back_off: BackOff = field(default_factory=BackOff)
    image_back_off: BackOff = field(default_factory=BackOff)


@dataclass(frozen=True)
class _Program:
    arguments: list[str]
    environment: dict[str, str] = field(repr=False)
    folder: Path


class ContainerRunner:
    """A container from its first start to its last end.

    Args:
        ports: Ports of this machine by those the pod declares.
        folders: Folders of this machine by the paths that the container knows.
        termination_log: What stands in for the container's ``terminationMessagePath``.
        init: It runs until it has succeeded once.
        on_change: Called when its state has changed.
    """

    def __init__(
        self,
        host: Host,
        pod: dict[str, Any],
        container: dict[str, Any],
        *,
        ports: Ports,
        folders: dict[str, str],
        termination_log: Path,
        init: bool = False,
        on_change: Callable[[], None],
    ) -> None:
        self._host = host
        self._pod = pod
        self._container = container
        self._ports = ports
        self._folders = {**folders, container.get("terminationMessagePath", TERMINATION_LOG): str(termination_log)}
        self._termination_log = termination_log
        self._init = init
        self._on_change = on_change
        self._stopping = asyncio.Event()
        self._grace_s = 0.0
        self._process: GuardedProcess | None = None
        self._image_failures = 0
        self._ends = 0
        self._name: str = container["name"]
        initializing = not init and bool(pod["spec"].get("initContainers"))
        self.state = ContainerState(
            self._name, container["image"], Waiting("PodInitializing") if initializing else Waiting()
        )

    def stop(self, grace_s: float) -> None:
        """Stop it for good, with SIGKILL after ``grace_s``; a second call can only bring that forward."""
        self._grace_s = min(grace_s, self._grace_s) if self._stopping.is_set() else grace_s
        self._stopping.set()
        if self._process is not None:
            self._process.stop(self._grace_s)

    @property
    def succeeded(self) -> bool:
        """It has ended well."""
        return isinstance(self.state.state, Terminated) and self.state.state.code == 0

    async def run(self) -> None:
        """Run it until it is stopped, or ends and is not to start again."""
        while not self._stopping.is_set():
            program = await self._prepare()
            if program is None:
                continue
            ended = await self._run_once(program)
            if self._stopping.is_set() or not self._restarts(ended):
                return
            await self._back_off(ended)

    def _set(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._on_change()

    def _waiting(self, reason: str, message: str) -> None:
        last = self.state.state if isinstance(self.state.state, Terminated) else self.state.last
        self._set(state=Waiting(reason, message), last=last, ready=False, started=False)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _event(self, reason: str, message: str, *, warning: bool = False) -> None:
        await self._host.events.record(self._pod, reason, message, warning=warning)

    async def _prepare(self) -> _Program | None:
        """The program to run; None, after a pause, when it cannot be run yet."""
        image = self._container["image"]
        if problem := pull_error(image):
            self._image_failures += 1
            wait_s = self._host.image_back_off.wait_s(self._image_failures)
            self._waiting("ErrImagePull", problem)
            await self._event("Failed", f'Failed to pull image "{image}": {problem}', warning=True)
            await self._pause(min(PULLING_S, wait_s))
            self._waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {problem}')
            await self._event("BackOff", f'Back-off pulling image "{image}"')
            await self._pause(wait_s)
            return None
        try:
            return await self._program()
        except ConfigError as error:
            self._waiting("CreateContainerConfigError", str(error))
            await self._event("Failed", f"Error: {error}", warning=True)
        except ApiError as error:
            log.warning("references_not_read", pod=self._pod["metadata"]["name"], error=str(error))
        await self._pause(RETRY_S)
        return None

    async def _program(self) -> _Program:
        pod, container = self._pod, self._container
        command = container.get("command", [])
        if not command:
            raise ConfigError(
                f"container {self._name}: no command specified; there is no image here whose entrypoint could be run"
            )
        namespace = pod["metadata"]["namespace"]
        secrets, config_maps = references(container)
        client = self._host.client
        sources = Sources(
            {name: data_of(await client.get(SECRETS, namespace, name), secret=True) for name in secrets},
            {name: data_of(await client.get(CONFIG_MAPS, namespace, name), secret=False) for name in config_maps},
        )
        declared = environment(pod, container, sources)
        base = {name: os.environ[name] for name in INHERITED if name in os.environ}
        base["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        base["HOSTNAME"] = pod["metadata"]["name"]
        base["PYTHONUNBUFFERED"] = "1"  # or a log file would lag behind by a buffer
        if "/tmp" in self._folders:  # noqa: S108 - the mount path of a pod
            base["TMPDIR"] = self._folders["/tmp"]  # noqa: S108
        variables = with_folders(with_host_ports(declared, self._ports), self._folders)
        program, *words = (expand(each, variables) for each in (*command, *container.get("args", [])))
        return _Program(
            arguments=[
                program_in_folder(program, self._folders),
                *(in_folder(each, self._folders) for each in words),
            ],
            environment={**base, **variables},
            folder=self._host.app_folder,  # a workingDir is a path of the image, whose place the app's folder takes
        )

    async def _run_once(self, program: _Program) -> Terminated:
        started = time.time()
        restarts = self.state.restarts + (1 if self.state.last or isinstance(self.state.state, Terminated) else 0)
        last = self.state.state if isinstance(self.state.state, Terminated) else self.state.last
        if problem := _cannot_start(program):
            ended = Terminated(START_ERROR, started, started, "StartError", problem)
            self._set(state=ended, last=last, restarts=restarts)
            await self._event("Failed", f"Error: {problem}", warning=True)
            return ended
        self._termination_log.parent.mkdir(parents=True, exist_ok=True)
        self._termination_log.write_bytes(b"")
        process = await self._host.guard.start(
            program.arguments, environment=program.environment, folder=program.folder, log=self._log_file()
        )
        self._process = process
        if self._stopping.is_set():  # while it was being started
            process.stop(self._grace_s)
        self._set(state=Running(started), last=last, restarts=restarts, pid=process.pid)
        probing = asyncio.create_task(self._probe(process, started))
        code = exit_code(await process.wait())
        probing.cancel()
        await asyncio.wait([probing])
        if not probing.cancelled():
            probing.result()  # nothing, or the error that ended it
        self._process = None
        said = self._termination_log.read_bytes()[:TERMINATION_MESSAGE_BYTES].decode(errors="replace")
        ended = Terminated(code, started, time.time(), "Error" if code else "Completed", said)
        self._set(state=ended, ready=self._init and code == 0, started=False)
        return ended

    def _restarts(self, ended: Terminated) -> bool:
        policy = self._pod["spec"].get("restartPolicy", "Always")
        return (policy == "Always" and not self._init) or (policy != "Never" and ended.code != 0)

    async def _back_off(self, ended: Terminated) -> None:
        wait_s, self._ends = self._host.crash_back_off.restart_s(self._ends, ended.finished - ended.started)
        if wait_s:
            name = self._pod["metadata"]["name"]
            self._waiting(
                "CrashLoopBackOff", f"back-off {wait_s:g}s restarting failed container={self._name} pod={name}"
            )
            await self._event(
                "BackOff", f"Back-off restarting failed container {self._name} in pod {name}", warning=True
            )
            await self._pause(wait_s)

    def _log_file(self) -> Path:
        """A fresh log; that of the run before is kept beside it."""
        metadata = self._pod["metadata"]
        path = log_file(self._host.state_folder, metadata["namespace"], metadata["name"], self._name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_suffix(".previous.log"))
        return path

    async def _probe(self, process: GuardedProcess, started: float) -> None:
        """Follow the probes of one run."""
        await self._event("Pulled", f'Container image "{self._container["image"]}" already present on machine')
        await self._event("Started", f"Started container {self._name}")
        probes = {}
        for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
            try:
                probes[kind] = parse_probe(self._container, kind, self._ports)
            except ValueError as error:
                await self._event("ProbeUnsupported", f"container {self._name}: {error}", warning=True)
        startup, readiness, liveness = map(probes.get, ("startupProbe", "readinessProbe", "livenessProbe"))
        if startup and not await self._follow("Startup", startup, started, until=True):
            await self._unhealthy(process, "startup", startup)
            return
        self._set(started=True, ready=readiness is None)
        async with asyncio.TaskGroup() as tasks:
            if readiness:
                tasks.create_task(self._follow("Readiness", readiness, started, until=None))
            if liveness:
                tasks.create_task(self._stay_alive(process, liveness, started))

    async def _stay_alive(self, process: GuardedProcess, probe: Probe, started: float) -> None:
        await self._follow("Liveness", probe, started, until=False)
        await self._unhealthy(process, "liveness", probe)

    async def _follow(self, kind: str, probe: Probe, started: float, *, until: bool | None) -> bool:
        """Probe until the container is believed healthy (``until`` true), unhealthy (false), or for ever (None).

        A readiness probe sets ``ready``; a startup probe gives up when it fails.
        """
        state = ProbeState(healthy=kind == "Liveness")
        await asyncio.sleep(max(0.0, started + probe.initial_delay_s - time.time()))
        while True:
            problem = await ask(self._host.session, probe)
            state = state.after(probe, success=problem is None)
            if problem is not None and not self._stopping.is_set():
                await self._event("Unhealthy", f"{kind} probe failed: {problem}", warning=True)
            failed = state.last is False and state.run >= probe.failure_threshold
            if kind == "Readiness" and state.healthy != self.state.ready:
                self._set(ready=state.healthy)
            if (until is True and (state.healthy or failed)) or (until is False and not state.healthy):
                return state.healthy
            await asyncio.sleep(probe.period_s)

    async def _unhealthy(self, process: GuardedProcess, kind: str, probe: Probe) -> None:
        if self._stopping.is_set():  # its grace period is running; it must not be cut short
            return
        pod_grace_s = self._pod["spec"].get("terminationGracePeriodSeconds", 30)
        # Told first, as the real kubelet does: the end of the process ends its probes, and this with them.
        await self._event("Killing", f"Container {self._name} failed {kind} probe, will be restarted")
        process.stop(pod_grace_s if probe.grace_s is None else probe.grace_s)


def log_file(state_folder: Path, namespace: str, pod: str, container: str) -> Path:
    """Where a container's output of its present run goes; ``.previous.log`` beside it holds that of the run before."""
    return state_folder / "logs" / f"{namespace}_{pod}_{container}.log"


def _cannot_start(program: _Program) -> str | None:
    name = program.arguments[0]
    found = shutil.which(program.folder / name if "/" in name else name, path=program.environment["PATH"])
    return None if found else f'exec: "{name}": executable file not found in $PATH'
