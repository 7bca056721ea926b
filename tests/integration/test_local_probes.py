"""Probes against real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from arqube_local.kubelet.probes import Probe, ask
from arqube_local.loopback import free_port


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    """A server that answers ``/<status>`` with that status, and ``/never`` not at all."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/never":
            await asyncio.Event().wait()
        return web.Response(status=int(request.path.strip("/")), headers={"Location": "/500"})

    application = web.Application()
    application.router.add_get("/{any}", answer)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        pytest.param("http://{}/200", None, id="200 is success"),
        pytest.param("http://{}/302", None, id="a redirect is success and is not followed"),
        pytest.param("http://{}/404", "statuscode: 404", id="404 is failure"),
        pytest.param("http://{}/never", "no answer within 0.2 s", id="silence is failure"),
        pytest.param("http://127.0.0.1:{free}/", "Connect call failed", id="HTTP that nothing listens on is failure"),
        pytest.param("tcp://{}", None, id="an open port is success"),
        pytest.param("tcp://127.0.0.1:{free}", "Connect call failed", id="a closed port is failure"),
    ],
)
async def test_probe(url: str, probe: str, problem: str | None) -> None:
    async with aiohttp.ClientSession() as session:
        timeout_s = 0.2 if "never" in probe else 30.0
        answer = await ask(session, Probe(probe.format(url, free=free_port()), timeout_s=timeout_s))
    assert answer is None if problem is None else problem in (answer or "")
