"""How the operator reaches the API server in a pod, without a kubeconfig and without what reads one."""

from __future__ import annotations

import asyncio
import gc
import ssl
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from arqube_operator.kube import access
from arqube_operator.kube.client import PODS, ApiError, KubeClient

OPENSSL = (
    *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"),
    *("-subj", "/CN=kubernetes", "-addext", "keyUsage=critical,digitalSignature,keyCertSign"),
)


def make_authority(certificate: Path, key: Path) -> None:
    name = "subjectAltName=IP:127.0.0.1"
    subprocess.run([*OPENSSL, "-keyout", key, "-out", certificate, "-addext", name], check=True, capture_output=True)


@dataclass
class Pod:
    """The folder of a service account, and the server it belongs to."""

    folder: Path
    port: int
    seen: list[str | None] = field(default_factory=list)


@pytest_asyncio.fixture
async def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pod]:
    key = tmp_path / "key.pem"
    certificate = tmp_path / "ca.crt"
    make_authority(certificate, key)
    (tmp_path / "token").write_text("first\n")
    made = Pod(tmp_path, 0)

    async def answer(request: web.Request) -> web.StreamResponse:
        made.seen.append(request.headers.get("Authorization"))
        if "watch" not in request.query:
            return web.json_response({"metadata": {"name": "p"}})
        stream = web.StreamResponse()
        await stream.prepare(request)
        with suppress(ConnectionError):
            while True:  # More than the client reads, so that its end of the connection is never idle.
                await stream.write(b'{"type": "ADDED", "object": {}}\n')
                await asyncio.sleep(0)
        return stream

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    await web.TCPSite(runner, "localhost", 0, ssl_context=tls).start()
    made.port = next(address[1] for address in runner.addresses if ":" not in address[0])
    monkeypatch.setattr(access, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(made.port))
    yield made
    await runner.cleanup()


async def test_a_netrc_with_a_password_for_the_server_is_left_alone(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    client = await KubeClient.from_config()
    await client.get(PODS, "n", "p")
    await client.close()
    assert pod.seen == ["Bearer first"]


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        pytest.param({}, None, id="none is named"),
        pytest.param({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128", id="one is named"),
        pytest.param({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "127.0.0.1"}, None, id="not for this server"),
        pytest.param({"HTTP_PROXY": "http://proxy:3128"}, None, id="only for what is not encrypted"),
    ],
)
async def test_the_proxy_of_the_environment(
    pod: Pod, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], proxy: str | None
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (await access.find_access(None)).proxy == proxy


async def test_a_pod_asks_with_the_token_of_its_service_account_as_it_is_now(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await KubeClient.from_config()
    await client.get(PODS, "n", "p")
    (pod.folder / "token").write_text("second")
    await client.get(PODS, "n", "p")
    monkeypatch.setattr(access, "TOKEN_LIFE_S", 0.0)
    await client.get(PODS, "n", "p")
    (pod.folder / "token").unlink()
    with pytest.raises(ApiError) as lost:
        await client.get(PODS, "n", "p")
    await client.close()
    assert pod.seen == ["Bearer first", "Bearer first", "Bearer second"]
    assert lost.value.status == 0


async def test_a_watch_that_is_left_in_the_middle_leaves_no_connection_behind(pod: Pod) -> None:
    """Neither in a loop that goes on, nor in one that ends before TLS has taken leave of the server."""

    async def look() -> None:
        client = await KubeClient.from_config()
        async with aclosing(client.watch(PODS, "n")) as events:  # type: ignore[type-var]
            async for _ in events:
                break
        await client.close()

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        await asyncio.to_thread(lambda: asyncio.run(look()))
        gc.collect()
    assert [str(each.message) for each in told if "unclosed" in str(each.message)] == []


async def test_a_server_that_the_clusters_authority_did_not_sign_gets_no_token(pod: Pod, tmp_path: Path) -> None:
    make_authority(tmp_path / "ca.crt", tmp_path / "other.key")
    client = await KubeClient.from_config()
    with pytest.raises(ApiError) as refused:
        await client.get(PODS, "n", "p")
    await client.close()
    assert refused.value.reason == "Unreachable"
    assert pod.seen == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param("10.0.0.1", "https://10.0.0.1:443", id="a cluster of IPv4"),
        pytest.param("fd00::1", "https://[fd00::1]:443", id="a cluster of IPv6"),
    ],
)
async def test_the_servers_url(pod: Pod, monkeypatch: pytest.MonkeyPatch, host: str, expected: str) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    assert (await access.find_access(None)).server == expected


@pytest.mark.parametrize(
    "lost", [pytest.param("token", id="no token is mounted"), pytest.param("ca.crt", id="no authority is mounted")]
)
async def test_a_pod_without_a_service_account_is_told(pod: Pod, lost: str) -> None:
    (pod.folder / lost).unlink()
    with pytest.raises(ApiError) as refused:
        await KubeClient.from_config()
    assert (refused.value.status, refused.value.reason) == (0, "NoConfiguration")


def test_the_operator_imports_nothing_that_its_image_lacks() -> None:
    code = "import sys; sys.modules['kubernetes'] = None; import arqube_operator.app"
    subprocess.run([sys.executable, "-c", code], check=True)
