"""Reads what is left at the end of a run: users and mails out of PostgreSQL, starts of jobs out of Redis.

``python -m benchmarks.fastapi.records read|left|empty DATABASE_URL REDIS_URL`` does so from elsewhere, in JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from benchmarks.fastapi.verdict import Records

STARTS: Final = "benchmark:starts"
"""The hash that ``parts/bench_worker.py`` counts in."""
QUEUE: Final = "arq:queue"
TIMEOUT_S: Final = 10.0


async def read(database_url: str, redis_url: str) -> Records:
    """All users and mails, and the jobs that started."""
    connection = await asyncpg.connect(_plain(database_url), timeout=TIMEOUT_S)
    try:
        users = await connection.fetch("SELECT email FROM users", timeout=TIMEOUT_S)
        mails = await connection.fetch("SELECT recipient FROM mails", timeout=TIMEOUT_S)
    finally:
        await connection.close()
    async with Redis.from_url(redis_url) as redis:
        starts = await redis.hgetall(STARTS)
    return Records(
        users=frozenset(row["email"] for row in users),
        mails=[row["recipient"] for row in mails],
        starts={job_id.decode(): int(count) for job_id, count in starts.items()},
    )


async def left(database_url: str, redis_url: str) -> tuple[int, int]:
    """Jobs on their way: those that are committed and not yet in Redis, and those in Redis that have not ended."""
    connection = await asyncpg.connect(_plain(database_url), timeout=TIMEOUT_S)
    try:
        waiting = await connection.fetchval(
            "SELECT count(*) FROM arqube_outbox WHERE moved_ms IS NULL", timeout=TIMEOUT_S
        )
    finally:
        await connection.close()
    async with Redis.from_url(redis_url) as redis:
        return int(waiting), int(await redis.zcard(QUEUE))


async def empty(database_url: str, redis_url: str) -> None:
    """Forget all of it, for another run on the same stage."""
    connection = await asyncpg.connect(_plain(database_url), timeout=TIMEOUT_S)
    try:
        await connection.execute("TRUNCATE users, mails, arqube_outbox", timeout=TIMEOUT_S)
    finally:
        await connection.close()
    async with Redis.from_url(redis_url) as redis:
        await redis.delete(STARTS)


def to_json(records: Records) -> dict[str, Any]:
    """The records as JSON has them."""
    return {"users": sorted(records.users), "mails": list(records.mails), "starts": dict(records.starts)}


def from_json(told: dict[str, Any]) -> Records:
    """The records that ``to_json`` told."""
    return Records(frozenset(told["users"]), told["mails"], told["starts"])


def _plain(url: str) -> str:
    return url.replace("+asyncpg", "")


def main() -> None:
    """Print the records, or the jobs that are left, or empty it all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("read", "left", "empty"))
    parser.add_argument("database_url")
    parser.add_argument("redis_url")
    options = parser.parse_args()
    where = (options.database_url, options.redis_url)
    if options.what == "empty":
        asyncio.run(empty(*where))
    elif options.what == "left":
        print(json.dumps(asyncio.run(left(*where))))
    else:
        print(json.dumps(to_json(asyncio.run(read(*where)))))


if __name__ == "__main__":
    main()
