"""A Deployment of a small HTTP server on a laptop cluster, and what its tests ask of its pods."""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from arqube_local.cluster import LaptopCluster
from arqube_local.kubelet.container import log_file
from arqube_operator.kube.client import DEPLOYMENTS, PODS

NAMESPACE = "default"

SERVER = """
import http.server, json, os, signal, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    sick = False

    def do_GET(self):
        Handler.sick |= self.path == "/fall-sick"
        self.send_response(500 if Handler.sick and self.path == "/healthz" else 200)
        self.end_headers()
        self.wfile.write(json.dumps({"pid": os.getpid(), "env": dict(os.environ)}).encode())

    def log_message(self, *_):
        pass

def stop(*_):
    print("stopping", flush=True)
    time.sleep(float(os.environ.get("STOP_AFTER", "0")))
    os._exit(0)

signal.signal(signal.SIGTERM, stop)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["HTTP_PORT"])), Handler).serve_forever()
"""


@asynccontextmanager
async def cluster_of_servers(folder: Path, *, stop_s: float = 5) -> AsyncIterator[LaptopCluster]:
    """A laptop cluster without the operator, whose containers run in a folder that holds ``server.py``."""
    app = folder / "app"
    app.mkdir()
    (app / "server.py").write_text(SERVER)
    async with LaptopCluster(state_dir=folder / "state", app_dir=app, operator=False, stop_s=stop_s) as running:
        yield running


def deployment(
    *, replicas: int = 1, env: dict[str, str] | None = None, container: dict[str, Any] | None = None, **spec: Any
) -> dict[str, Any]:
    """A Deployment of the server; ``container`` goes over the server's container, ``spec`` over the pod's spec."""
    server = {
        "name": "web",
        "image": "web:1",
        "command": ["python", "server.py"],
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "HTTP_PORT", "value": "8080"}, *({"name": k, "value": v} for k, v in (env or {}).items())],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1, "timeoutSeconds": 5},
        **(container or {}),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"terminationGracePeriodSeconds": 10, **spec, "containers": [server]},
            },
        },
    }


async def apply(cluster: LaptopCluster, body: dict[str, Any]) -> None:
    await cluster.client.apply(DEPLOYMENTS, NAMESPACE, "web", body, field_manager="test")


async def scale(cluster: LaptopCluster, replicas: int) -> None:
    await cluster.client.scale(DEPLOYMENTS, NAMESPACE, "web", replicas, field_manager="test")


async def pods(cluster: LaptopCluster) -> list[dict[str, Any]]:
    return (await cluster.client.list(PODS, NAMESPACE))[0]


async def ready_pods(cluster: LaptopCluster, count: int) -> list[dict[str, Any]]:
    """The pods, once there are ``count`` and all are ready; empty until then."""
    found = await pods(cluster)
    ready = [pod for pod in found if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
    return ready if len(ready) == len(found) == count else []


def is_ready(pod: dict[str, Any]) -> bool:
    return any(
        each["type"] == "Ready" and each["status"] == "True" for each in pod.get("status", {}).get("conditions", [])
    )


async def container_status(cluster: LaptopCluster) -> dict[str, Any]:
    """The container's status of the only pod; empty before there is one."""
    found = await pods(cluster)
    statuses = found[0].get("status", {}).get("containerStatuses") if found else None
    return statuses[0] if statuses else {}


def local_port(pod: dict[str, Any]) -> int:
    return int(json.loads(pod["metadata"]["annotations"]["arqube.dev/local-ports"])["8080"])


async def ask(pod: dict[str, Any], path: str = "/") -> dict[str, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{local_port(pod)}{path}") as response,
    ):
        answer: dict[str, Any] = json.loads(await response.text())
        return answer


async def pid_of(pod: dict[str, Any]) -> int:
    return int((await ask(pod))["pid"])


def alive(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


def log_of(cluster: LaptopCluster, pod: dict[str, Any]) -> Path:
    return log_file(cluster.state_dir, NAMESPACE, pod["metadata"]["name"], "web")
