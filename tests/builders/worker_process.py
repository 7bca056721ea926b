"""A worker in a process of its own, in the folder of the test apps, with what its tests ask of it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

APPS = Path(__file__).parents[1] / "integration" / "apps"
BIN = Path(sys.executable).parent


class WorkerProcess:
    """A worker in a process of its own; its output goes to a file."""

    def __init__(self, command: list[str], environ: dict[str, str], log: Path, port: int) -> None:
        self.port = port
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=APPS, env=environ, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What it logged, but for a line that it is writing; one that is not JSON fails the test."""
        written, _, _ = self.text.rpartition("\n")
        return [json.loads(line) for line in written.splitlines()]

    def logged(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["event"] == event]

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def metric(self, series: str) -> float:
        """The value of one series, written as in the exposition; 0 when it is not there."""
        for line in self.get("/metrics")[1].splitlines():
            if line.rpartition(" ")[0] == series:
                return float(line.rpartition(" ")[2])
        return 0.0

    def signal(self, signum: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(signum)

    async def exit_code(self, within_s: float = 25) -> int:
        return await asyncio.to_thread(self.process.wait, within_s)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
