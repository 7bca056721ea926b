"""API servers that tests run on: the fake, and a real one where its binaries are at hand.

As with Kubernetes' envtest they are looked up in ``$KUBEBUILDER_ASSETS``, by default ``/usr/local/kubebuilder/bin``:
kube-apiserver and etcd, and kube-controller-manager for the garbage collector.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arqube_local.apiserver import FakeApiServer
from arqube_local.apiserver.faults import Faults
from arqube_local.loopback import free_port

ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin")
REAL_IS_AT_HAND = all((ASSETS / name).exists() for name in ("kube-apiserver", "etcd"))
ROOT = Path(__file__).parents[2]
DEFINITIONS = (ROOT / "crds", ROOT / "tests/contract/widgets.yaml")
START_TIMEOUT_S = 60.0
TOKEN = "contract-suite"  # noqa: S105 - of a server that lives as long as the tests


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    kind: str
    """``fake`` or ``real``."""
    name: str
    """As a run's last lines tell what was tested."""
    kubeconfig: Path
    faults: Faults | None = None
    """What the fake is to do wrong; a real server fails only when it must."""


def run_kubectl(
    kubeconfig: Path, *arguments: str, body: Mapping[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["kubectl", "--kubeconfig", str(kubeconfig), *arguments],
        input=json.dumps(body) if body is not None else None,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def install_definitions(kubeconfig: Path) -> None:
    """Install all of ``crds/`` and the contract suite's own kind."""
    files = [f"--filename={file}" for file in DEFINITIONS]
    for arguments in (("apply", *files), ("wait", "--for=condition=Established", "crd", "--all")):
        done = run_kubectl(kubeconfig, *arguments)
        assert done.returncode == 0, done.stderr


@contextmanager
def fake_server(folder: Path) -> Iterator[Server]:
    """The fake in a thread of its own, so that tests may block on kubectl."""
    fake = FakeApiServer()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="fake API server")
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(fake.start(), loop).result(START_TIMEOUT_S)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(fake.kubeconfig()))
        install_definitions(kubeconfig)
        yield Server("fake", "fake", kubeconfig, fake.faults)
    finally:
        asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(START_TIMEOUT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def real_server(
    folder: Path, prepare: Callable[[Path], None] = install_definitions, options: tuple[str, ...] = ()
) -> Iterator[Server]:
    """etcd, kube-apiserver and, if it is there, kube-controller-manager; on free ports of loopback.

    ``prepare`` is given the kubeconfig before the garbage collector starts. ``options`` are kube-apiserver's.
    """
    etcd, peers, port = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}", free_port()
    key, tokens, certificate = folder / "accounts.key", folder / "tokens.csv", folder / "apiserver.crt"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
    url = f"https://127.0.0.1:{port}"
    with ExitStack() as running:
        running.enter_context(
            process(
                folder,
                "etcd",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd}",
                f"--advertise-client-urls={etcd}",
                f"--listen-peer-urls={peers}",
                "--unsafe-no-fsync",
            )
        )
        running.enter_context(
            process(
                folder,
                "kube-apiserver",
                f"--etcd-servers={etcd}",
                f"--secure-port={port}",
                "--bind-address=127.0.0.1",
                f"--cert-dir={folder}",
                f"--token-auth-file={tokens}",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.0.0.0/24",
                "--authorization-mode=RBAC",
                # Its accounts are made by a controller that does not run here.
                "--disable-admission-plugins=ServiceAccount",
                *options,
            )
        )
        wait_until(lambda: certificate.exists() and get(f"{url}/readyz", certificate) == "ok", "kube-apiserver", folder)
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_for(url, certificate)))
        version = json.loads(get(f"{url}/version", certificate))["gitVersion"]
        # Before the garbage collector starts: it looks for new kinds twice a minute only.
        prepare(kubeconfig)
        if (ASSETS / "kube-controller-manager").exists():
            controllers = "--controllers=garbage-collector-controller,namespace-controller"
            ways = (f"--kubeconfig={kubeconfig}", controllers, "--leader-elect=false", "--secure-port=0")
            running.enter_context(process(folder, "kube-controller-manager", *ways))
        yield Server("real", f"real kube-apiserver {version}", kubeconfig)


@contextmanager
def process(folder: Path, name: str, *options: str) -> Iterator[None]:
    """Run one of the binaries, its log in ``folder``, until the end of the block."""
    with (folder / f"{name}.log").open("wb") as log:
        running = subprocess.Popen([ASSETS / name, *options], stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        running.terminate()
        try:
            running.wait(15)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


def kubeconfig_for(url: str, authority: Path) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "real", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
        "current-context": "real",
    }


def get(url: str, authority: Path) -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})  # noqa: S310
    context = ssl.create_default_context(cafile=str(authority))
    with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
        text: str = answer.read().decode()
        return text


def wait_until(condition: Callable[[], bool], name: str, folder: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        try:
            if condition():
                return
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"{name} did not start:\n{(folder / f'{name}.log').read_text()[-2000:]}")
