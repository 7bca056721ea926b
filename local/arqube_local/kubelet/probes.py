"""Probes: what a container declares, and which run of results changes its health.

Thresholds as in Kubernetes' ``pkg/kubelet/prober/worker.go``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

Ports = dict[int, int]
"""Host port by container port."""


@dataclass(frozen=True)
class Probe:
    """An HTTP or TCP probe; times in seconds, the port already the host's."""

    url: str
    """``tcp://host:port`` asks for no more than a connection."""
    headers: tuple[tuple[str, str], ...] = ()
    initial_delay_s: float = 0.0
    period_s: float = 10.0
    timeout_s: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3
    grace_s: float | None = None
    """Instead of the pod's grace period where a failure stops the container."""


@dataclass(frozen=True)
class ProbeState:
    """What is believed, and the run of equal results at the end."""

    healthy: bool
    last: bool | None = None
    run: int = 0

    def after(self, probe: Probe, success: bool) -> ProbeState:
        """The state once a probe gave ``success``: belief changes only when a run reaches its threshold."""
        run = self.run + 1 if success == self.last else 1
        enough = run >= (probe.success_threshold if success else probe.failure_threshold)
        return replace(self, healthy=success if enough else self.healthy, last=success, run=run)


def parse_probe(container: dict[str, Any], kind: str, ports: Ports) -> Probe | None:
    """The probe ``kind`` ("startupProbe" ...) of ``container``; None where there is none.

    Raises:
        ValueError: It is of another kind, or names a port that the container does not declare.
    """
    declared = container.get(kind)
    if not declared:
        return None
    http, tcp = declared.get("httpGet"), declared.get("tcpSocket")
    action = http or tcp
    if action is None:
        raise ValueError(f"{kind}: the process kubelet supports httpGet and tcpSocket; it is not run")
    port = _port(container, action["port"], kind)
    address = f"{action.get('host', '127.0.0.1')}:{ports.get(port, port)}"
    path = action.get("path", "/").removeprefix("/")
    return Probe(
        url=f"{http.get('scheme', 'HTTP').lower()}://{address}/{path}" if http else f"tcp://{address}",
        headers=tuple((each["name"], each["value"]) for each in action.get("httpHeaders", [])),
        initial_delay_s=declared.get("initialDelaySeconds", 0),
        period_s=declared.get("periodSeconds", 10),
        timeout_s=declared.get("timeoutSeconds", 1),
        success_threshold=declared.get("successThreshold", 1),
        failure_threshold=declared.get("failureThreshold", 3),
        grace_s=declared.get("terminationGracePeriodSeconds"),
    )


def _port(container: dict[str, Any], port: int | str, kind: str) -> int:
    if isinstance(port, int):
        return port
    for each in container.get("ports", []):
        if each.get("name") == port:
            number: int = each["containerPort"]
            return number
    raise ValueError(f"{kind}: the container declares no port named {port!r}; it is not run")


async def ask(session: aiohttp.ClientSession, probe: Probe) -> str | None:
    """Probe once: None for success (200 to 399), else what went wrong. Redirects and certificates are not followed."""
    if probe.url.startswith("tcp://"):
        return await _connect(probe)
    timeout = aiohttp.ClientTimeout(total=probe.timeout_s)
    headers = {"User-Agent": "kube-probe/arqube-local", **dict(probe.headers)}
    try:
        async with session.get(
            probe.url, headers=headers, timeout=timeout, allow_redirects=False, ssl=False
        ) as response:
            status = response.status
    except TimeoutError:
        return f"Get {probe.url}: no answer within {probe.timeout_s:g} s"
    except aiohttp.ClientConnectorError as error:
        return f"Get {probe.url}: {error.os_error.strerror or 'connection failed'}"
    except aiohttp.ClientError as error:
        return f"Get {probe.url}: {error}"
    return None if 200 <= status < 400 else f"HTTP probe failed with statuscode: {status}"


async def _connect(probe: Probe) -> str | None:
    host, _, port = probe.url.removeprefix("tcp://").rpartition(":")
    try:
        async with asyncio.timeout(probe.timeout_s):
            _, writer = await asyncio.open_connection(host, int(port))
    except OSError as error:  # TimeoutError among them
        return f"{probe.url}: {error.strerror or 'no connection in time'}"
    writer.close()
    return None
