"""Records what a version leaves behind, for later ones to read: ``python tests/upgrades/record.py FOLDER``.

Run with PYTHONPATH naming the packages of that version, as ``builders.releases.Release.environment`` does. A laptop
cluster runs jobs that end, wait, run and are retried in every way, a worker retires, and rows of an outbox are moved.
Then what Redis, the API server and the outbox's table hold is written to FOLDER.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.asyncio import Redis

from arqube_local.cluster import LaptopCluster
from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.kube.client import DEPLOYMENTS, LEASES, PODS, TASK_QUEUES
from arqube_worker.contrib.outbox import Outbox, Relay
from arqube_worker.contrib.sqlalchemy import Database

APP = """
import asyncio
from arq import Retry, cron

async def work(ctx, number):
    return number

async def flaky(ctx):
    if ctx["job_try"] == 1:
        raise Retry(defer=0.1)

async def later(ctx):
    raise Retry(defer=86400)

async def fail(ctx, message):
    raise ValueError(message)

async def hold(ctx):
    await asyncio.sleep(3600)

async def nightly(ctx):
    pass

class WorkerSettings:
    functions = [work, flaky, later, fail, hold]
    cron_jobs = [cron(nightly, hour=3, minute=0)]
    allow_abort_jobs = True
"""
SPEC = {
    "worker": {"image": "emails:1", "settings": "app.WorkerSettings", "concurrency": 4},
    "scaling": {"minReplicas": 1, "maxReplicas": 3, "maxWait": "30s"},
    "deadLetters": {"retention": "14d", "maxEntries": 1000},
    "shutdown": {"timeout": "1s"},
}
DEADLINE_S = 90.0


async def main(folder: Path) -> None:
    """Make the data and write them."""
    with tempfile.TemporaryDirectory(prefix="arqube-record-") as place:
        (Path(place) / "app").mkdir()
        (Path(place) / "app/app.py").write_text(APP)
        async with LaptopCluster(state_dir=Path(place) / "state", app_dir=Path(place) / "app") as cluster:
            client = await create_pool(RedisSettings(port=cluster.redis.address.port))
            try:
                await record(cluster, client, Path(place), folder)
            finally:
                await client.aclose(close_connection_pool=True)
    write(folder / "definition.json", custom_resource_definition())


async def record(cluster: LaptopCluster, client: ArqRedis, place: Path, folder: Path) -> None:
    """Run the jobs, and write what they leave."""
    rows = await move_rows(client, place)
    redis = {"host": "127.0.0.1", "port": cluster.redis.address.port}
    body = {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "emails"},
        "spec": SPEC | {"redis": redis},
    }
    await cluster.client.apply(TASK_QUEUES, "default", "emails", body, field_manager="record")
    ended = ["outboxed"]
    for job_id, function, *arguments in (
        *((f"worked-{number}", "work", number) for number in range(20)),
        ("flaky", "flaky"),
        ("failed", "fail", "as asked"),
        ("failed-again", "fail", "once more"),
    ):
        await client.enqueue_job(function, *arguments, _job_id=job_id)
        ended.append(job_id)
    await client.enqueue_job("later", _job_id="later")
    await client.enqueue_job("work", 1, _job_id="deferred", _defer_by=timedelta(days=1))
    await until(lambda: has_fields(client, "arqube:arq:queue:jobs", ended))
    await client.enqueue_job("unheard_of", _job_id="unheard-of")
    aborted = await client.enqueue_job("hold", _job_id="aborted")
    assert aborted is not None
    await until(lambda: client.exists("arq:in-progress:aborted"))
    await aborted.abort(timeout=DEADLINE_S, poll_delay=0.1)
    await client.enqueue_job("hold", _job_id="running")
    await until(lambda: client.exists("arq:in-progress:running"))
    await until(lambda: client.hexists("arqube:arq:queue:unknown-functions", "unheard-of"))
    await until(lambda: told(cluster))
    await until(lambda: sampled(client))
    write(folder / "redis.json", await dumped(client))
    write(folder / "outbox.json", rows)
    kept = (TASK_QUEUES, "emails"), (DEPLOYMENTS, "emails-worker"), (LEASES, "arqube-operator")
    objects = [await cluster.client.get(kind, "default", name) for kind, name in kept]
    pods, _ = await cluster.client.list(PODS, "default")
    for body in (*objects, *pods):
        del body["metadata"]["managedFields"]
    write(folder / "objects.json", [*objects, *pods])


async def move_rows(client: ArqRedis, place: Path) -> list[dict[str, Any]]:
    """Move one row of an outbox into Redis, leave another behind, and give the table's rows."""
    outbox, database = Outbox(), Database(f"sqlite+aiosqlite:///{place}/app.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(outbox.metadata.create_all)
    async with database.session() as session:
        outbox.enqueue(session, "work", 7, _job_id="outboxed")
    async with Relay(outbox, database.engine, client):
        await until(lambda: client.exists("arq:job:outboxed"))
        await until(lambda: moved(outbox, database))
    async with database.session() as session:
        outbox.enqueue(session, "work", 8, _job_id="left-behind")
    async with database.engine.connect() as connection:
        rows = [dict(row._mapping) for row in await connection.execute(outbox.table.select())]
    await database.close()
    return [{name: coded(value) if isinstance(value, bytes) else value for name, value in row.items()} for row in rows]


async def moved(outbox: Outbox, database: Database) -> bool:
    async with database.engine.connect() as connection:
        return all(row.moved_ms is not None for row in await connection.execute(outbox.table.select()))


async def has_fields(client: Redis, key: str, names: list[str]) -> bool:
    return None not in await client.hmget(key, names)  # type: ignore[misc]


async def told(cluster: LaptopCluster) -> bool:
    """Whether the status tells of dead letters, of what was learned, and of cron jobs."""
    body = await cluster.client.get(TASK_QUEUES, "default", "emails") or {}
    status = body.get("status", {})
    scaling = status.get("scaling", {})
    learned = scaling.get("inputs", {}).keys() >= {"serviceSeconds", "arrivalsPerSecond", "startupSeconds"}
    return status.get("queue", {}).get("deadLetters") == 2 and learned and "next" in scaling.get("crons", {})


async def sampled(client: Redis) -> bool:
    (key,) = await client.keys("arqube:*:history:*") or (b"",)
    return bool(key) and await client.llen(key) >= 3  # type: ignore[misc]


async def dumped(client: Redis) -> dict[str, Any]:
    """All keys with type, life left and value; bytes in base64."""
    readers: dict[bytes, Callable[[bytes], Awaitable[Any]]] = {
        b"string": client.get,
        b"hash": client.hgetall,  # type: ignore[dict-item]
        b"zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: client.lrange(key, 0, -1),  # type: ignore[dict-item, return-value]
    }
    keys = {}
    for key in sorted(await client.keys("*")):
        kind, value = await client.type(key), await readers[await client.type(key)](key)
        keys[key.decode()] = {"type": kind.decode(), "life_ms": await client.pttl(key), "value": plain(value)}
    return {"at_ms": int(time.time() * 1000), "keys": keys}


def plain(value: Any) -> Any:
    """A reply as JSON: hashes and sorted sets as lists of pairs."""
    if isinstance(value, bytes):
        return coded(value)
    if isinstance(value, dict):
        return [[coded(name), coded(each)] for name, each in value.items()]
    return [[coded(each[0]), each[1]] if isinstance(each, tuple) else coded(each) for each in value]


def coded(value: bytes) -> str:
    return base64.b64encode(value).decode()


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not await condition():
        if time.monotonic() > deadline:
            raise SystemExit("what is to be recorded did not come about")
        await asyncio.sleep(0.1)


def write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    destination = Path(sys.argv[1])
    destination.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(destination))
