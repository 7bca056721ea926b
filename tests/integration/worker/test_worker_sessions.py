"""Jobs with a database session each, under arqube-worker and under plain arq: what they have done is kept or not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis
from sqlalchemy import Column, Integer, MetaData, Table, Text, select
from sqlalchemy.ext.asyncio import create_async_engine

NAMES = Table("names", MetaData(), Column("id", Integer, primary_key=True), Column("name", Text))


class Names:
    """What the jobs have committed."""

    def __init__(self, url: str) -> None:
        self._engine = create_async_engine(url)

    async def create(self) -> None:
        async with self._engine.begin() as connection:
            await connection.run_sync(NAMES.metadata.create_all)

    async def read(self) -> list[str]:
        async with self._engine.connect() as connection:
            return sorted(await connection.scalars(select(NAMES.c.name)))

    async def close(self) -> None:
        await self._engine.dispose()


@pytest_asyncio.fixture
async def names(database_url: str) -> AsyncIterator[Names]:
    names = Names(database_url)
    await names.create()
    yield names
    await names.close()


async def has(names: Names, name: str) -> bool:
    return name in await names.read()


async def is_hanging(client: ArqRedis) -> bool:
    return b"hung" in await client.lrange("hanging", 0, -1)


@pytest.mark.parametrize("plain", [False, True], ids=["arqube-worker", "arq"])
async def test_what_a_job_did_is_kept_when_it_succeeds_and_only_then(
    arq_client: ArqRedis, names: Names, database_url: str, start_worker: Any, eventually: Any, plain: bool
) -> None:
    variables = {"DATABASE_URL": database_url, "ARQUBE_SHUTDOWN_TIMEOUT": "0"}
    worker = start_worker(module="database_settings", plain=plain, environment=variables)
    added = await arq_client.enqueue_job("add", "added")
    failed = await arq_client.enqueue_job("add_and_fail", "failed")
    again = await arq_client.enqueue_job("add_at_the_second_try", "again")
    timed_out = await arq_client.enqueue_job("time_out", "timed out")
    for job in (added, failed, again, timed_out):
        assert job is not None
    assert await added.result(60, poll_delay=0.05) == "added by 1"  # type: ignore[union-attr]
    with pytest.raises(LookupError):
        await failed.result(60, poll_delay=0.05)  # type: ignore[union-attr]
    await again.result(60, poll_delay=0.05)  # type: ignore[union-attr]
    with pytest.raises(TimeoutError):
        await timed_out.result(60, poll_delay=0.05)  # type: ignore[union-attr]
    await eventually(lambda: has(names, "tick"), within_s=60)
    await arq_client.enqueue_job("hang", "hung", _job_id="hung")
    await eventually(lambda: is_hanging(arq_client), within_s=60)
    worker.signal()
    assert await worker.exit_code(within_s=60) == 0, worker.text
    assert await names.read() == ["added", "again at try 2", "tick"]
    assert await arq_client.lrange("hooks", 0, -1) == [b"startup", b"shutdown"]
