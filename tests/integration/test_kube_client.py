"""The client when things go wrong: every failure is an ``ApiError`` that says what happened and no secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from arqube_local.apiserver import FakeApiServer
from arqube_local.loopback import free_port
from arqube_operator.kube import client as client_module
from arqube_operator.kube.client import PODS, SECRETS, ApiError, KubeClient, Resource

CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
TOKEN = "token-that-must-not-be-seen"  # noqa: S105 - of no server

Serve = Callable[[web.Response], Awaitable[tuple[KubeClient, list[web.Request]]]]


def kubeconfig(folder: Path, url: str) -> str:
    path = folder / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(json.dumps(config))
    return str(path)


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def client(fake: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubeClient]:
    opened = await KubeClient.from_config(kubeconfig(tmp_path, fake.url))
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def serve(tmp_path: Path) -> AsyncIterator[Serve]:
    """A server that gives one answer to everything, a client of it, and the requests that it got."""
    runners: list[web.AppRunner] = []
    clients: list[KubeClient] = []

    async def start(answer: web.Response) -> tuple[KubeClient, list[web.Request]]:
        requests: list[web.Request] = []

        async def handle(request: web.Request) -> web.Response:
            await request.read()
            requests.append(request)
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", handle)
        runners.append(web.AppRunner(application))
        await runners[-1].setup()
        await web.TCPSite(runners[-1], "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runners[-1].addresses[0][1]}"
        clients.append(await KubeClient.from_config(kubeconfig(tmp_path, url)))
        return clients[-1], requests

    yield start
    for opened in clients:
        await opened.close()
    for runner in runners:
        await runner.cleanup()


async def refused(request: Awaitable[Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await request
    assert TOKEN not in str(caught.value)
    return caught.value


STATUS = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected"),
    [
        pytest.param(
            409,
            {},
            json.dumps({**STATUS, "reason": "Conflict", "message": "modified", "code": 409}),
            (409, "Conflict", "modified", None),
            id="a Status is taken over",
        ),
        pytest.param(
            429,
            {"Retry-After": "7"},
            json.dumps({**STATUS, "reason": "TooManyRequests", "message": "slow down", "code": 429}),
            (429, "TooManyRequests", "slow down", 7.0),
            id="the header says when to try again",
        ),
        pytest.param(
            503,
            {},
            json.dumps({**STATUS, "reason": "ServiceUnavailable", "message": "m", "details": {"retryAfterSeconds": 3}}),
            (503, "ServiceUnavailable", "m", 3.0),
            id="the Status says when to try again",
        ),
        pytest.param(
            502,
            {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"},
            "<html>Bad Gateway password=geheim</html>",
            (502, "Unknown", "the API server answered HTTP 502 without a reason", None),
            id="a proxy's page is not repeated",
        ),
        pytest.param(
            500,
            {},
            "[1]",
            (500, "Unknown", "the API server answered HTTP 500 without a reason", None),
            id="JSON of another form",
        ),
        pytest.param(
            200,
            {},
            "not JSON",
            (200, "NotJson", "GET secrets s: the API server's answer is no JSON object", None),
            id="success that is no JSON",
        ),
    ],
)
async def test_an_answer_becomes_an_error(
    serve: Serve, status: int, headers: dict[str, str], body: str, expected: tuple[Any, ...]
) -> None:
    opened, _ = await serve(web.Response(status=status, headers=headers, text=body))
    error = await refused(opened.get(SECRETS, "n", "s"))
    assert (error.status, error.reason, error.message, error.retry_after_s) == expected
    watching = opened.watch(SECRETS, "n")
    if status != 200:
        assert (await refused(anext(watching))).status == status


async def test_no_server_is_an_error_of_status_0(tmp_path: Path) -> None:
    opened = await KubeClient.from_config(kubeconfig(tmp_path, f"http://127.0.0.1:{free_port()}"))
    error = await refused(opened.get(SECRETS, "n", "s"))
    assert (error.status, error.reason) == (0, "Unreachable")
    assert "GET secrets s: the connection to the API server failed" in error.message
    assert (await refused(anext(opened.watch(SECRETS, "n")))).status == 0
    await opened.close()


async def test_each_answer_is_told_with_its_verb_and_resource(fake: FakeApiServer, tmp_path: Path) -> None:
    told: list[tuple[str, str, int]] = []
    opened = await KubeClient.from_config(kubeconfig(tmp_path, fake.url), lambda *answer: told.append(answer))
    try:
        await opened.create(CONFIG_MAPS, "default", CONFIG_MAP, field_manager="t")
        await opened.list(CONFIG_MAPS, None)
        await opened.get(CONFIG_MAPS, "default", "other")
        await refused(opened.patch_status(CONFIG_MAPS, "default", "other", {}, field_manager="t"))
        watch = opened.watch(CONFIG_MAPS, "default")
        await anext(watch)
        await watch.aclose()  # type: ignore[attr-defined]
        await fake.stop()
        await refused(opened.delete(CONFIG_MAPS, "default", "c"))
    finally:
        await opened.close()
    assert told == [
        ("create", "configmaps", 201),
        ("list", "configmaps", 200),
        ("get", "configmaps", 404),
        ("patch", "configmaps/status", 404),
        ("watch", "configmaps", 200),
        ("delete", "configmaps", 0),
    ]


async def test_a_silent_server_is_an_error_of_status_0(
    fake: FakeApiServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "REQUEST_TIMEOUT_S", 0.2)
    fake.pause()
    error = await refused(client.create(CONFIG_MAPS, "default", CONFIG_MAP, field_manager="t"))
    assert (error.status, error.reason) == (0, "Timeout")
    fake.resume()
    assert await client.get(CONFIG_MAPS, "default", "other") is None


async def test_a_watch_that_is_cut_off_is_an_error_or_an_end(fake: FakeApiServer, client: KubeClient) -> None:
    _, version = await client.list(CONFIG_MAPS, "default")
    watching = client.watch(CONFIG_MAPS, "default", resource_version=version)
    waiting = asyncio.ensure_future(anext(watching))
    await asyncio.wait({waiting}, timeout=0.2)
    await fake.stop()
    with pytest.raises((ApiError, StopAsyncIteration)):
        await asyncio.wait_for(waiting, 5)
    assert (await refused(client.list(CONFIG_MAPS, "default"))).status == 0
    await fake.start()
    assert await client.list(CONFIG_MAPS, "default") == ([], version), "what was stored outlives a restart"


async def test_faults_strike_as_often_as_they_are_told(fake: FakeApiServer, client: KubeClient) -> None:
    fake.faults.fail_next("POST", "/configmaps$", 429, times=2, retry_after=1)
    for _ in range(2):
        error = await refused(client.create(CONFIG_MAPS, "default", CONFIG_MAP, field_manager="t"))
        assert (error.status, error.reason, error.retry_after_s) == (429, "TooManyRequests", 1.0)
    assert await client.get(CONFIG_MAPS, "default", "c") is None
    await client.create(CONFIG_MAPS, "default", CONFIG_MAP, field_manager="t")


@pytest.mark.parametrize(
    ("call", "method", "path", "content_type", "body"),
    [
        pytest.param(
            lambda c: c.create(PODS, "n", {"a": 1}, field_manager="m"),
            "POST",
            "/api/v1/namespaces/n/pods?fieldManager=m",
            "application/json",
            {"a": 1},
            id="create",
        ),
        pytest.param(
            lambda c: c.replace(PODS, "n", "p", {"a": 1}, field_manager="m"),
            "PUT",
            "/api/v1/namespaces/n/pods/p?fieldManager=m",
            "application/json",
            {"a": 1},
            id="replace",
        ),
        pytest.param(
            lambda c: c.apply(PODS, "n", "p", {"a": 1}, field_manager="m"),
            "PATCH",
            "/api/v1/namespaces/n/pods/p?fieldManager=m&force=true",
            "application/apply-patch+yaml",
            {"a": 1},
            id="apply",
        ),
        pytest.param(
            lambda c: c.patch_status(PODS, "n", "p", {"a": 1}, field_manager="m"),
            "PATCH",
            "/api/v1/namespaces/n/pods/p/status?fieldManager=m",
            "application/merge-patch+json",
            {"status": {"a": 1}},
            id="patch of the status",
        ),
        pytest.param(
            lambda c: c.patch_metadata(PODS, "n", "p", {"labels": None}, field_manager="m"),
            "PATCH",
            "/api/v1/namespaces/n/pods/p?fieldManager=m",
            "application/merge-patch+json",
            {"metadata": {"labels": None}},
            id="patch of the metadata",
        ),
        pytest.param(
            lambda c: c.scale(Resource("a.example/v1", "things", "Thing"), "n", "p", 0, field_manager="m"),
            "PATCH",
            "/apis/a.example/v1/namespaces/n/things/p/scale?fieldManager=m",
            "application/merge-patch+json",
            {"spec": {"replicas": 0}},
            id="scale",
        ),
        pytest.param(
            lambda c: c.delete(PODS, "n", "../x", grace_period_s=0),
            "DELETE",
            "/api/v1/namespaces/n/pods/..%2Fx",
            "application/json",
            {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0},
            id="delete, with a name that must not leave its place",
        ),
        pytest.param(
            lambda c: c.get(Resource("v1", "nodes", "Node", namespaced=False), None, "a"),
            "GET",
            "/api/v1/nodes/a",
            None,
            None,
            id="get of what has no namespace",
        ),
    ],
)
async def test_the_request_is_exactly(
    serve: Serve, call: Any, method: str, path: str, content_type: str | None, body: Any
) -> None:
    opened, requests = await serve(web.json_response({}))
    await call(opened)
    (request,) = requests
    assert (request.method, request.raw_path) == (method, path)
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    if content_type is not None:
        assert request.headers["Content-Type"] == content_type
        assert await request.json() == body


async def test_a_list_reads_all_pages_and_says_what_its_items_are(serve: Serve) -> None:
    pages = iter(
        [
            {"metadata": {"continue": "more", "resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}}]},
            {"metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "b"}}]},
        ]
    )

    class Paged(web.Response):
        body = property(lambda self: json.dumps(next(pages)).encode(), lambda self, value: None)

    opened, requests = await serve(Paged())
    items, version = await opened.list(PODS, None, label_selector="a=b")
    assert [(item["kind"], item["apiVersion"], item["metadata"]["name"]) for item in items] == [
        ("Pod", "v1", "a"),
        ("Pod", "v1", "b"),
    ]
    assert version == "5"
    assert [request.query.get("continue") for request in requests] == [None, "more"]
    assert {request.query["labelSelector"] for request in requests} == {"a=b"}


async def test_a_long_event_arrives_whole(fake: FakeApiServer, client: KubeClient) -> None:
    long = {**CONFIG_MAP, "data": {"long": "x" * 900_000}}
    _, version = await client.list(CONFIG_MAPS, "default")
    await client.create(CONFIG_MAPS, "default", long, field_manager="t")
    kind, body = await anext(client.watch(CONFIG_MAPS, "default", resource_version=version))
    assert (kind, body["data"]) == ("ADDED", long["data"])


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(None, id="there is none"),
        pytest.param("{", id="it is no YAML"),
        pytest.param("a: 1", id="it is no kubeconfig"),
    ],
)
async def test_a_configuration_that_cannot_be_used_is_told(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    error = await refused(KubeClient.from_config(str(path)))
    assert (error.status, error.reason) == (0, "NoConfiguration")
    assert "KUBECONFIG" in error.message
