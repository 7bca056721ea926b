"""An operator in a process of its own, with what its tests ask of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from arqube_local.loopback import free_port


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
