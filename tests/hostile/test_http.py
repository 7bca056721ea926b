"""What is sent to the HTTP ports of operator, console and worker, by bytes: each is answered or hung up on, in order.

Nothing is told as a defect (status 500 and above, save what is not implemented), nothing hangs, and who comes after is
answered as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest
import pytest_asyncio
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from structlog.testing import capture_logs

from arqube_operator import server
from arqube_operator.console.guard import HEADERS
from arqube_operator.console.routes import Console
from arqube_operator.serving import Runner
from arqube_operator.settings import ConsoleSettings
from arqube_worker.endpoints import Endpoints

KIND = "HTTP requests"
DEADLINE_S = 30.0
HOST = b"Host: localhost\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"


@dataclass(frozen=True)
class Port:
    """A server under attack: its port, a path that it answers with 200 or 503, and headers of each of its answers."""

    number: int
    path: str
    headers: tuple[str, ...] = ()


def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("hostile", "Something to expose.", ["name"], registry=made).labels(name='a"\n\\b').inc()
    return made


@pytest_asyncio.fixture(params=["operator", "console", "worker"])
async def port(request: pytest.FixtureRequest) -> AsyncIterator[Port]:
    if request.param == "worker":
        endpoints = Endpoints(0, registry())
        yield Port(endpoints.port, "/healthz")
        await asyncio.to_thread(endpoints.close)
        return
    if request.param == "operator":
        runner = Runner(server.application(registry(), lambda: None, lambda: "not yet"), server.HEADERS)
        path, headers = "/healthz", ()
    else:
        console = Console(ConsoleSettings(0), lambda: "another operator leads")
        runner = Runner(console.application(), HEADERS, access_log=None)
        path, headers = "/", tuple(HEADERS)
    await runner.setup()
    await web.TCPSite(runner, host="127.0.0.1", port=0).start()
    yield Port(runner.addresses[0][1], path, headers)
    await runner.cleanup()


async def exchange(port: Port, sent: bytes, *, patience_s: float = DEADLINE_S) -> bytes:
    """What is answered to ``sent`` until the server closes the connection, or says no more for ``patience_s``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    answer = b""
    try:
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                writer.write(sent)
                await writer.drain()
        with suppress(ConnectionError, TimeoutError):
            while True:
                async with asyncio.timeout(patience_s):
                    part = await reader.read(65_536)
                if not part:
                    break
                answer += part
    finally:
        writer.close()
    return answer


REQUESTS = {
    "nothing": b"",
    "an empty line": b"\r\n\r\n",
    "no HTTP": b"HELO mail.example\r\n\r\n",
    "a command of Redis": b"*1\r\n$4\r\nPING\r\n",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
    "zeros": bytes(5000),
    "bytes of every kind": bytes(range(256)) * 8,
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    "a version in words": b"GET / HTTP/one\r\n\r\n",
    "a method that is none": b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method in small letters": b"get / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a method nobody knows": b"BREW / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "TRACE": b"TRACE / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "CONNECT": b"CONNECT example.org:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    "OPTIONS of all": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "DELETE": b"DELETE / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a PUT with a body": b"PUT /metrics HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nConnection: close\r\n\r\nabc",
    "a path of 100,000 characters": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a header of 100,000 characters": b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "2,000 headers": b"GET / HTTP/1.1\r\n" + HOST + b"X-Y: z\r\n" * 2000 + b"\r\n",
    "no host": b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\nConnection: close\r\n\r\n",
    "a host that is none": b"GET / HTTP/1.1\r\nHost: [::1\r\nConnection: close\r\n\r\n",
    "a host of bytes": b"GET / HTTP/1.1\r\nHost: \xff\xfe\r\nConnection: close\r\n\r\n",
    "a URL for a path": b"GET http://evil.example/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a URL that is none": b"GET http://[::1/ HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "two slashes for a path": b"GET //[/healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a path of bytes": b"GET /\xff\xfe\x00 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a path without a slash": b"GET metrics HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a path out of the root": b"GET /../../etc/passwd HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "half a percent sign": b"GET /%zz%?q=%c3%28%00 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: value\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    "a header with a null byte": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\nConnection: close\r\n\r\n",
    "a folded header": b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\nConnection: close\r\n\r\n",
    "line feeds alone": b"GET / HTTP/1.1\nHost: localhost\nConnection: close\n\n",
    "two lengths": b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a length in words": b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: ten\r\n\r\n",
    "a length beyond all memory": b"POST /login HTTP/1.1\r\n"
    + HOST
    + FORM
    + b"Content-Length: 99999999999999\r\n\r\na",
    "a length of 5,000 digits": b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "a body that is cut short": b"POST /login HTTP/1.1\r\n" + HOST + FORM + b"Content-Length: 100\r\n\r\ntoken=",
    "a length beside chunks": (
        b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HT"
    ),
    "chunks of a length in words": (
        b"POST /login HTTP/1.1\r\n" + HOST + FORM + b"Transfer-Encoding: chunked\r\n\r\nten\r\nabc\r\n0\r\n\r\n"
    ),
    "chunks that never end": (
        b"POST /login HTTP/1.1\r\n" + HOST + FORM + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"
    ),
    "an encoding nobody knows": b"POST /login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: rot13\r\n\r\nabc",
    "a body that is no gzip": (
        b"POST /login HTTP/1.1\r\n" + HOST + FORM + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"
    ),
    "a form that is JSON": (
        b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    ),
    "a form of parts without a boundary": (
        b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data\r\nContent-Length: 3\r\n\r\nabc"
    ),
    "a form with a thousand fields": (
        b"POST /login HTTP/1.1\r\n"
        + HOST
        + FORM
        + b"Content-Length: 4000\r\nConnection: close\r\n\r\n"
        + b"a=b&" * 1000
    ),
    "a charset nobody knows": (
        b"POST /login HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/x-www-form-urlencoded; charset=nonsense\r\nContent-Length: 7\r\n"
        + b"Connection: close\r\n\r\ntoken=a"
    ),
    "what it accepts in nonsense": b"GET /metrics HTTP/1.1\r\n"
    + HOST
    + b"Accept: ;;;q=x,*/*;q=2\r\nConnection: close\r\n\r\n",
    "OpenMetrics of no version": (
        b"GET /metrics HTTP/1.1\r\n"
        + HOST
        + b"Accept: application/openmetrics-text; version=x; escaping=none\r\nConnection: close\r\n\r\n"
    ),
    "a query for no metrics": b"GET /metrics?name[]=\xff HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    "cookies in nonsense": b"GET / HTTP/1.1\r\n" + HOST + b'Cookie: ;=;a="\\;\x80=\r\nConnection: close\r\n\r\n',
    "a session of nonsense": b"GET / HTTP/1.1\r\n"
    + HOST
    + b"Cookie: arqube-session=..9e999\r\nConnection: close\r\n\r\n",
    "an expectation nobody meets": b"GET / HTTP/1.1\r\n" + HOST + b"Expect: miracles\r\nConnection: close\r\n\r\n",
    "an upgrade to WebSocket": (
        b"GET / HTTP/1.1\r\n"
        + HOST
        + b"Upgrade: websocket\r\nConnection: Upgrade, close\r\nSec-WebSocket-Key: x\r\n\r\n"
    ),
    "a range beyond the end": b"GET /static/console.css HTTP/1.1\r\n"
    + HOST
    + b"Range: bytes=9-1\r\nConnection: close\r\n\r\n",
    "a hundred requests at once": (b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n") * 99
    + (b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"),
    "a request behind half another": b"GET / HTTP/1.1\r\n" + HOST + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n",
}


ANSWERED = {
    REQUESTS[name]
    for name in ("a URL that is none", "two slashes for a path", "OpenMetrics of no version", "no HTTP", "HEAD")
}
"""Requests that are whole, and were left without an answer once."""


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS.keys())
async def test_a_request_does_no_harm(port: Port, case: bytes) -> None:
    with capture_logs() as logs:
        answer = await exchange(port, case, patience_s=0.15)  # Some wait for what never comes.
        after = await exchange(
            port, b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % port.path.encode()
        )
    assert [line for line in logs if line["log_level"] in ("error", "critical")] == []
    assert answer or case not in ANSWERED
    if answer.startswith(b"HTTP/"):
        status = int(answer.split(b" ", 2)[1])
        # Not implemented, a version that is not spoken, and the console's own that another operator leads.
        assert status < 500 or status in (501, 503, 505), answer[:500]
        head = answer.partition(b"\r\n\r\n")[0].decode("latin-1").lower()
        assert [name for name in port.headers if f"\r\n{name.lower()}: " not in head] == []
    for leak in (b"Traceback", b"site-packages", b"aiohttp.http_exceptions"):
        assert leak not in answer
    assert after.split(b" ", 2)[1] in (b"200", b"503")


async def test_clients_that_say_nothing_keep_nobody_out(port: Port) -> None:
    waiting = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(50)]
    for _, writer in waiting:
        writer.write(b"GET / HTTP/1.1\r\nHost: local")
    answer = await exchange(
        port, b"GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % port.path.encode()
    )
    assert answer.split(b" ", 2)[1] in (b"200", b"503")
    for _, writer in waiting:
        writer.close()
