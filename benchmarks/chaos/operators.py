"""The operators of a run: two that share a Lease, each started again when it has ended, as by a Deployment."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiohttp

from arqube_local.loopback import free_port
from arqube_local.processes.guard import GuardedProcess, ProcessGuard
from benchmarks.chaos.clocks import Clock

DOWN_S: Final = 1.0
"""How long one that has ended stays away."""
READY_S: Final = 30.0
STOP_S: Final = 20.0


class Operator:
    """A replica of the operator.

    Attributes:
        name: As the Lease names its holder.
        process: The process that runs now, or ran last.
    """

    def __init__(self, guard: ProcessGuard, name: str, kubeconfig: str, folder: Path) -> None:
        self.name = name
        self.port = free_port()
        self.process: GuardedProcess
        self._guard = guard
        self._folder = folder
        self._environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ARQUBE_")},
            "KUBECONFIG": kubeconfig,
            "ARQUBE_OPERATOR_NAMESPACE": "default",
            "ARQUBE_HTTP_PORT": str(self.port),
            "ARQUBE_OPERATOR_IDENTITY": name,
            "PYTHONUNBUFFERED": "1",
            **Clock(folder, name).variables(),
        }

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self.process.pid if self.process.running else None

    async def run(self, started: asyncio.Event) -> None:
        """Keep it running until cancelled; then stop it."""
        try:
            while True:
                self.process = await self._guard.start(
                    [sys.executable, "-m", "arqube_operator"],
                    environment=self._environment,
                    folder=self._folder,
                    log=self._folder / f"{self.name}.log",
                )
                started.set()
                await self.process.wait()
                await asyncio.sleep(DOWN_S)
        finally:
            if started.is_set():
                self.process.stop(STOP_S)
                await self.process.wait()

    async def until_ready(self) -> None:
        """Wait until it is ready.

        Raises:
            TimeoutError: It is not, in time.
        """
        deadline = time.monotonic() + READY_S
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while time.monotonic() < deadline:
                with suppress(aiohttp.ClientError, TimeoutError):
                    async with session.get(f"http://127.0.0.1:{self.port}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.1)
        raise TimeoutError(f"{self.name} was not ready within {READY_S:g} s")
