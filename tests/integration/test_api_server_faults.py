"""The fake API server in trouble: each kind of trouble reaches a client as a real server's would, and ends."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from arqube_local.apiserver import WATCH, FakeApiServer, Trouble
from arqube_operator.kube.client import ApiError, KubeClient, Resource

CONFIG_MAPS = Resource("v1", "configmaps", "ConfigMap")
DEADLINE_S = 30.0
QUIET_S = 0.3
"""Within which an event would have come, were it not held back."""

Eventually = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture
async def fake() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture
async def client(fake: FakeApiServer, tmp_path: Path) -> AsyncIterator[KubeClient]:
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(fake.kubeconfig()))
    opened = await KubeClient.from_config(str(path))
    yield opened
    await opened.close()


async def create(client: KubeClient, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    await client.create(CONFIG_MAPS, "default", body, field_manager="t")


async def status_of(call: Any) -> int | None:
    """The status that a request is refused with, 0 where no answer came; None where it goes through."""
    try:
        await call
    except ApiError as error:
        return error.status
    return None


@pytest.mark.parametrize(
    ("trouble", "statuses"),
    [
        pytest.param(Trouble(status=503), (503, 503), id="what names no method strikes all"),
        pytest.param(Trouble(frozenset({"POST"}), status=429), (None, 429), id="other methods go through"),
        pytest.param(Trouble(frozenset({WATCH}), status=500), (None, None), id="of watches strikes no list"),
        pytest.param(Trouble(path_regex="/secrets", status=409), (None, None), id="other paths go through"),
        pytest.param(Trouble(status=500, share=0.0), (None, None), id="a share of none strikes nothing"),
        pytest.param(Trouble(cut=True), (0, 0), id="a reset is no answer"),
    ],
)
async def test_trouble_strikes_what_it_names_until_it_ends(
    fake: FakeApiServer, client: KubeClient, trouble: Trouble, statuses: tuple[int | None, int | None]
) -> None:
    fake.faults.begin(trouble)
    assert (await status_of(client.list(CONFIG_MAPS, "default")), await status_of(create(client, "a"))) == statuses
    fake.faults.end(trouble)
    assert await status_of(client.list(CONFIG_MAPS, "default")) is None
    assert await status_of(create(client, "b")) is None


async def test_a_share_of_requests_is_struck(fake: FakeApiServer, client: KubeClient) -> None:
    fake.faults.begin(Trouble(status=429, retry_after_s=7, share=0.5, chance=random.Random(1)))  # noqa: S311
    seen = {await status_of(client.list(CONFIG_MAPS, "default")) for _ in range(30)}
    assert seen == {None, 429}


async def test_what_is_cut_or_late_was_done(fake: FakeApiServer, client: KubeClient, eventually: Eventually) -> None:
    cut = Trouble(frozenset({"POST"}), cut=True)
    fake.faults.begin(cut)
    assert await status_of(create(client, "a")) == 0
    fake.faults.end(cut)
    fake.faults.begin(Trouble(frozenset({"POST"}), delay_s=60.0))
    late = asyncio.create_task(create(client, "b"))
    try:
        await eventually(lambda: client.get(CONFIG_MAPS, "default", "b"))
        assert not late.done()
    finally:
        late.cancel()
        await asyncio.gather(late, return_exceptions=True)
    assert await client.get(CONFIG_MAPS, "default", "a") is not None


async def test_silent_watches_tell_later_what_happened(fake: FakeApiServer, client: KubeClient) -> None:
    _, version = await client.list(CONFIG_MAPS, "default")
    async with aclosing(client.watch(CONFIG_MAPS, "default", resource_version=version)) as events:  # type: ignore[type-var]
        await create(client, "a")
        await asyncio.wait_for(anext(events), DEADLINE_S)
        fake.faults.silence_watches()
        await create(client, "b")
        second = asyncio.ensure_future(anext(events))
        assert not (await asyncio.wait({second}, timeout=QUIET_S))[0]
        fake.faults.let_watches_speak()
        kind, body = await asyncio.wait_for(second, DEADLINE_S)
    assert (kind, body["metadata"]["name"]) == ("ADDED", "b")


async def test_watches_end_with_410_in_the_stream(fake: FakeApiServer, client: KubeClient) -> None:
    _, version = await client.list(CONFIG_MAPS, "default")
    waiting = asyncio.ensure_future(anext(client.watch(CONFIG_MAPS, "default", resource_version=version)))
    assert not (await asyncio.wait({waiting}, timeout=QUIET_S))[0]
    fake.end_watches()
    with pytest.raises(ApiError) as caught:
        await asyncio.wait_for(waiting, DEADLINE_S)
    assert caught.value.status == 410
    await create(client, "a")
    async with aclosing(client.watch(CONFIG_MAPS, "default", resource_version=version)) as events:  # type: ignore[type-var]
        assert (await asyncio.wait_for(anext(events), DEADLINE_S))[0] == "ADDED"


async def test_a_compacted_history_is_gone_and_what_stands_is_not(fake: FakeApiServer, client: KubeClient) -> None:
    _, version = await client.list(CONFIG_MAPS, "default")
    await create(client, "a")
    fake.compact()
    with pytest.raises(ApiError) as caught:
        await asyncio.wait_for(anext(client.watch(CONFIG_MAPS, "default", resource_version=version)), DEADLINE_S)
    assert caught.value.status == 410
    listed, version = await client.list(CONFIG_MAPS, "default")
    assert [each["metadata"]["name"] for each in listed] == ["a"]
    async with aclosing(client.watch(CONFIG_MAPS, "default", resource_version=version)) as events:  # type: ignore[type-var]
        await create(client, "b")
        assert (await asyncio.wait_for(anext(events), DEADLINE_S))[1]["metadata"]["name"] == "b"


async def test_cut_connections_end_watches_and_new_ones_are_taken(fake: FakeApiServer, client: KubeClient) -> None:
    _, version = await client.list(CONFIG_MAPS, "default")
    waiting = asyncio.ensure_future(anext(client.watch(CONFIG_MAPS, "default", resource_version=version)))
    assert not (await asyncio.wait({waiting}, timeout=QUIET_S))[0]
    fake.cut_connections()
    with pytest.raises(ApiError) as caught:
        await asyncio.wait_for(waiting, DEADLINE_S)
    assert caught.value.status == 0
    assert await status_of(client.list(CONFIG_MAPS, "default")) is None
