"""A real Prometheus on loopback, and what it knows: queries over a time, with a dashboard's variables filled in."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import aiohttp
import yaml

from arqube_local.loopback import free_port

START_S: Final = 20.0
_POLL_S: Final = 0.05


class QueryError(Exception):
    """Prometheus refused a query; the message has the query and its answer."""


@dataclass(frozen=True, slots=True)
class Series:
    """A series of a query's result: its labels, and its finite values by Unix seconds."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


def find_binary() -> str | None:
    """Path of an installed ``prometheus``; None when there is none."""
    return shutil.which("prometheus")


def fill_in(expr: str, values: Mapping[str, str]) -> str:
    """``expr`` with Grafana's variables replaced by ``values``.

    Raises:
        KeyError: There is no value for a variable.
    """
    return re.sub(r"\$(\w+)", lambda found: values[found[1]], expr)


class Prometheus:
    """A Prometheus of ``binary`` with the scrape jobs ``scrape_configs``. A context manager.

    Args:
        folder: For its configuration, log and data.
        interval_s: Seconds between scrapes.
    """

    def __init__(
        self, binary: str, folder: Path, scrape_configs: Sequence[Mapping[str, Any]], *, interval_s: float
    ) -> None:
        self._folder = folder
        self._binary = binary
        self._interval = f"{interval_s * 1000:.0f}ms"
        self._configs = scrape_configs
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Prometheus:
        self._folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        config = self._folder / "prometheus.yaml"
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": self._interval, "scrape_timeout": self._interval},
                    "scrape_configs": list(self._configs),
                }
            )
        )
        command = [self._binary, f"--config.file={config}", f"--storage.tsdb.path={self._folder / 'data'}"]
        command += [f"--web.listen-address=127.0.0.1:{port}"]
        with (self._folder / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)  # noqa: ASYNC220, S603
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        try:
            await self._until_ready(self._process)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def range(self, expr: str, start: float, end: float, step_s: float) -> list[Series]:
        """What ``expr`` gave between two Unix times; series without a finite value are left out.

        Raises:
            QueryError: It is no query.
        """
        asked = {"query": expr, "start": str(start), "end": str(end), "step": str(step_s)}
        async with self._session.post(f"{self._url}/api/v1/query_range", data=asked) as response:
            body = await response.json()
        if body.get("status") != "success":
            raise QueryError(f"{expr}: {body.get('error')}")
        found = []
        for series in body["data"]["result"]:
            points = [(float(at), float(value)) for at, value in series["values"] if math.isfinite(float(value))]
            if points:
                found.append(Series(series["metric"], points))
        return found

    async def _until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while True:
            try:
                async with self._session.get(f"{self._url}/-/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self._folder / "prometheus.log").read_text()[-2000:]
                raise RuntimeError(f"{self._binary} did not start:\n{said}")
            await asyncio.sleep(_POLL_S)

    async def _stop(self) -> None:
        await self._session.close()
        if self._process is not None:
            self._process.terminate()
            try:
                await asyncio.to_thread(self._process.wait, 10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
