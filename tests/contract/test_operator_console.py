"""The console of a running operator: on loopback alone, over the cluster's TaskQueues, from the one that leads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from arq.jobs import serialize_job
from redis.asyncio import Redis

from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import TASK_QUEUES, KubeClient
from arqube_queue import keys

Eventually = Callable[..., Awaitable[Any]]

NAME = "looked-at"
TOKEN = "a-token-of-the-tests"  # noqa: S105 - of an operator that lives as long as the tests
LISTENS = "0A"


class Running:
    """An operator with a console, and somebody who looks at it."""

    def __init__(self, process: Any, port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"

    async def get(self, session: aiohttp.ClientSession, path: str) -> str:
        """The page; empty while there is none."""
        try:
            async with session.get(f"{self.url}{path}") as answer:
                return await answer.text()
        except aiohttp.ClientConnectionError:
            return ""


@pytest.fixture
def operators(server: Any, operator_process: Any, tmp_path: Path) -> Iterator[tuple[Running, Running]]:
    """Two of one Lease, the first of which leads."""
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN)

    def make() -> Running:
        port = free_port()
        variables = {"ARQUBE_CONSOLE_PORT": str(port), "ARQUBE_CONSOLE_TOKEN_FILE": str(token_file)}
        return Running(operator_process(server.kubeconfig, "console", **variables), port)

    made = make(), make()
    yield made
    for running in made:
        running.process.stop()


@pytest_asyncio.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as opened:
        yield opened


@pytest_asyncio.fixture
async def task_queue(api: Any, redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A TaskQueue with waiting jobs and a dead letter; the client of its Redis."""
    client: KubeClient = api.client
    redis = redis_server.address.connect()
    await redis.zadd(NAME, {f"{NAME}:{number}": 1000 for number in range(7)})
    died_ms = int(time.time() * 1000)
    letter = {"payload": serialize_job("send", (), {}, None, died_ms), "reason": "failed", "error": "ValueError: no"}
    await redis.hset(keys.dead_letter(NAME, "dead"), mapping=letter)  # type: ignore[misc]
    await redis.zadd(keys.dead_letters(NAME), {"dead": died_ms})
    body = {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": NAME},
        "spec": {
            "redis": {"host": "127.0.0.1", "port": redis_server.address.port},
            "queueName": NAME,
            "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
        },
    }
    await client.apply(TASK_QUEUES, "default", NAME, body, field_manager="test")
    yield redis
    await client.delete(TASK_QUEUES, "default", NAME)
    await redis.delete(NAME, keys.dead_letters(NAME), keys.dead_letter(NAME, "dead"), f"{keys.JOB_PREFIX}dead")
    await redis.aclose()


def listening(port: int) -> list[str]:
    """The addresses on which this machine listens on ``port``, as Linux writes them."""
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [line[1].partition(":")[0] for line in lines if line[3] == LISTENS and line[1].endswith(f":{port:04X}")]


async def test_the_leader_shows_the_cluster_s_queues_and_puts_dead_letters_back(
    operators: tuple[Running, Running], task_queue: Redis, session: aiohttp.ClientSession, eventually: Eventually
) -> None:
    first, second = operators
    first.process.start()
    await eventually(first.process.leads, within_s=60)

    async def shows_it() -> bool:
        page = await first.get(session, f"/queues/default/{NAME}")
        return "Waiting</dt>\n  <dd>7" in page and ">Backlog<" in page

    await eventually(shows_it, within_s=60)
    assert f"/queues/default/{NAME}" in await first.get(session, "/?only=work")
    assert listening(first.port) == ["0100007F"], "127.0.0.1 alone"

    second.process.start()

    async def stands_by() -> bool:
        page = await second.get(session, "/")
        return f"port-forward pod/operator-{first.process.port}" in page

    await eventually(stands_by, within_s=60)

    await post(first, session, "/login", token=TOKEN)
    await post(first, session, f"/queues/default/{NAME}/dead-letters/retry", form_at="/dead-letters", job="dead")
    assert await task_queue.zscore(NAME, "dead") is not None
    log = first.process.log.read_text()
    assert "console.retried" in log
    assert TOKEN not in log


async def post(running: Running, session: aiohttp.ClientSession, path: str, form_at: str = "", **form: str) -> None:
    """Send the form of the page, as a browser does."""
    page = await running.get(session, f"/queues/default/{NAME}{form_at}" if form_at else path)
    form["form_key"] = page.rpartition('name="form_key" value="')[2].partition('"')[0]
    headers = {"Origin": running.url}
    async with session.post(f"{running.url}{path}", data=form, headers=headers) as answer:
        assert answer.status == 200
