"""A relay as a process of its own: it stops when told, says what is wrong, and may be killed at any time."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from tests.integration.conftest import KINDS

from arqube_local.redis_server import RedisServer
from arqube_queue import keys
from arqube_worker.contrib.outbox import Outbox
from arqube_worker.contrib.outbox.__main__ import main
from arqube_worker.contrib.sqlalchemy import Database

APPS = Path(__file__).parents[1] / "apps"
Start = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    """Start the command with the app's relay."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(url: str) -> subprocess.Popen[bytes]:
        address = redis_server.address
        variables = {"REDIS_QUEUE_HOST": address.host, "REDIS_QUEUE_PORT": str(address.port), "DATABASE_URL": url}
        command = [sys.executable, "-m", "arqube_worker.contrib.outbox", "relay_settings:relay"]
        with (tmp_path / "log").open("ab") as log:
            processes.append(
                subprocess.Popen(command, cwd=APPS, env={**os.environ, **variables}, stdout=log, stderr=log)
            )
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.parametrize("database_url", KINDS[-1:], indirect=True)
async def test_each_job_runs_once_while_relays_are_killed(
    database: Database, database_url: str, outbox: Outbox, redis: Redis, start: Start, eventually: Any
) -> None:
    runs: Counter[str] = Counter()
    committed: list[str] = []
    stop = asyncio.Event()

    async def commit() -> None:
        while not stop.is_set():
            async with database.session() as session:
                number = len(committed)
                committed.append(outbox.enqueue(session, "welcome", number, _job_id=f"job {number}"))
            await asyncio.sleep(0.03)

    async def work() -> None:
        """Run what is queued; results expire at once."""
        while not stop.is_set() or runs.total() < len(committed):
            for job_id in map(bytes.decode, await redis.zrange(keys.DEFAULT_QUEUE, 0, -1)):
                await redis.zrem(keys.DEFAULT_QUEUE, job_id)
                await redis.delete(keys.JOB_PREFIX + job_id)
                runs[job_id] += 1
            await asyncio.sleep(0.005)

    app, worker = asyncio.create_task(commit()), asyncio.create_task(work())
    for _ in range(1):
        relay = start(database_url)
        before = runs.total()
        await eventually(lambda before=before: runs.total() > before, within_s=60)
        await asyncio.sleep(random.uniform(0, 0.3))  # noqa: S311 - any moment will do
        relay.kill()
        relay.wait()
    last = start(database_url)
    stop.set()
    await asyncio.wait_for(asyncio.gather(app, worker), 60)

    async def cleared() -> bool:
        async with database.engine.connect() as connection:
            return not (await connection.execute(outbox.table.select())).all()

    await eventually(cleared, within_s=60)
    assert runs == Counter(committed)
    last.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(last.wait, 60) == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("relay_settings", "'relay_settings' names no relay: write module:name"),
        ("relay_settings:gone", "'relay_settings:gone' cannot be imported"),
        ("nowhere:relay", "'nowhere:relay' cannot be imported: ModuleNotFoundError: No module named 'nowhere'"),
        ("relay_settings:NO_RELAY", "'relay_settings:NO_RELAY' is no Relay but int"),
    ],
)
def test_it_says_what_is_wrong_with_its_argument(
    name: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(APPS))
    with pytest.raises(SystemExit) as end:
        main([name])
    assert end.value.code == 2
    assert said in capsys.readouterr().err
