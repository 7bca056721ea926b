"""The processes to measure, what Linux says of them, and what the operator's own metrics say."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

import aiohttp

from arqube_local.apiserver import FakeApiServer
from arqube_local.loopback import free_port
from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.kube.client import ApiError, KubeClient, Resource

REPOSITORY: Final = Path(__file__).parents[2]
DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
START_TIMEOUT_S: Final = 30.0
STOP_TIMEOUT_S: Final = 10.0
MANAGER: Final = "benchmark"

API_REQUESTS: Final = "arqube_operator_api_requests"

_API_REQUEST: Final = re.compile(
    rf'{API_REQUESTS}_total\{{code="\d+",resource="(?P<resource>[^"]+)",verb="(?P<verb>\w+)"\}} (?P<value>\S+)'
)
_numbers: Final = count(1)
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")

Samples = dict[str, float]
"""Values of metrics by name, a histogram's buckets as ``name_bucket:0.5``; summed over all other labels."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator process: what it has used, by ``/proc``, and what it tells at its endpoint."""

    process: asyncio.subprocess.Process
    port: int

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    async def kill(self) -> None:
        """End it as a node that fails does."""
        self.process.kill()
        await self.process.wait()

    def cpu_s(self) -> float:
        """Seconds of CPU so far, of all its threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def resident_mib(self) -> float:
        """MiB of memory now."""
        return self._memory_mib("VmRSS")

    def peak_mib(self) -> float:
        """MiB of memory at its most."""
        return self._memory_mib("VmHWM")

    async def samples(self, *names: str) -> Samples:
        """What its metrics are now, all or those of the process that are named; empty before it listens."""
        found: Samples = {}
        for line in (await self.get("/metrics", *(("name[]", name) for name in names))).splitlines():
            if not line.startswith("#"):
                sample, _, value = line.rpartition(" ")
                name, _, labels = sample.partition("{")
                bucket = labels.partition('le="')[2].partition('"')[0]
                key = f"{name}:{float(bucket):g}" if bucket else name
                found[key] = found.get(key, 0.0) + float(value)
        return found

    async def get(self, path: str, *query: tuple[str, str]) -> str:
        """What it answers; empty before it listens, and where all is not well."""
        return await page(self.port, path, *query)

    async def api_requests(self) -> Counter[str]:
        """Requests to the API server so far, by verb and resource, as in ``patch deployments/scale``."""
        counted: Counter[str] = Counter()
        for line in (await self.get("/metrics", ("name[]", f"{API_REQUESTS}_total"))).splitlines():
            if found := _API_REQUEST.fullmatch(line):
                counted[f"{found['verb']} {found['resource']}"] += int(float(found["value"]))
        return counted

    def _memory_mib(self, name: str) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) / 1024


@asynccontextmanager
async def api_server(folder: Path) -> AsyncIterator[Path]:
    """The fake API server with our CRD; the path of its kubeconfig."""
    port = free_port()
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(FakeApiServer(port).kubeconfig()))
    async with _running(folder, "benchmarks.operator.api_server", str(port)):
        client = await KubeClient.from_config(str(kubeconfig))
        try:
            await until(lambda: _takes_the_crd(client), "the API server answers", timeout_s=START_TIMEOUT_S)
        finally:
            await client.close()
        yield kubeconfig


@asynccontextmanager
async def operator(folder: Path, kubeconfig: Path, **environment: str) -> AsyncIterator[Operator]:
    """An operator that sees to the cluster of ``kubeconfig``; ``environment`` adds to what it needs."""
    port = free_port()
    ours = {
        "KUBECONFIG": str(kubeconfig),
        "ARQUBE_HTTP_PORT": str(port),
        "ARQUBE_OPERATOR_IDENTITY": f"operator-{port}",
    }
    async with _running(folder, "arqube_operator", **ours, **environment) as process:
        yield Operator(process, port)


async def page(port: int, path: str, *query: tuple[str, str]) -> str:
    """What is answered on a port of this machine; empty before somebody listens, and where all is not well."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}", params=query) as answer,
        ):
            return await answer.text() if answer.ok else ""
    except aiohttp.ClientConnectionError:
        return ""


async def until(holds: Callable[[], Awaitable[bool]], what: str, *, timeout_s: float, pause_s: float = 0.1) -> None:
    """Wait until ``holds``.

    Raises:
        TimeoutError: It did not within ``timeout_s`` seconds; says ``what`` was waited for.
    """
    deadline = time.monotonic() + timeout_s
    while not await holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:.0f} s: {what}")
        await asyncio.sleep(pause_s)


async def _takes_the_crd(client: KubeClient) -> bool:
    try:
        await client.create(DEFINITIONS, None, custom_resource_definition(), field_manager=MANAGER)
    except ApiError as error:
        return error.status == 409
    return True


@asynccontextmanager
async def _running(
    folder: Path, module: str, *arguments: str, **environment: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``module`` as a process, its output in ``folder``; the end of that is told when it ends before its time."""
    log = folder / f"{module}-{next(_numbers)}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env={**os.environ, **environment},
            cwd=REPOSITORY,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.returncode == -signal.SIGKILL:
            pass  # as it was told
        elif process.returncode is not None:
            print(f"{module} ended early:\n{log.read_text()[-2000:]}", file=sys.stderr)
        else:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
