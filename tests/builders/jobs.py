"""Jobs that a worker of ours takes and ends at a queue, turn by turn, with what it records of them."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis

from arqube_queue import job_records, job_tries, keys, turns
from arqube_queue.answers import now_ms
from arqube_queue.job_records import JobRecord
from arqube_queue.turns import Death, End, Lease, Policy, Turn, Turns

QUEUE = "mail"
DEATH = Death("failed", "send", "ValueError: no luck", "Traceback ...", 1, 7)


def worker(redis: Redis, name: str = "us", **policy: Any) -> Turns:
    return Turns(redis, QUEUE, worker=name, token=name, policy=Policy(**policy))


async def take(redis: Redis, us: Turns, *ends: End, limit: int = 0) -> Turn:
    return await us.take(ends, now_ms=await now_ms(redis) + job_records.ROUNDING_MS, limit=limit)


async def lease(redis: Redis, us: Turns) -> Lease:
    (leased,) = (await take(redis, us, limit=1)).leases
    return leased


def lines(leased: Lease, worker: str, outcome: str, error: str = "", *, over: bool = True) -> str:
    """What a worker records at the end of a run."""
    told = [] if not over else [job_tries.ending('"send"', 7, outcome)]
    told += [leased.former.decode()] if leased.former else []
    return "\n".join((*told, job_tries.ended_try(leased.tries, f'"{worker}"', 1000, 3000, outcome, error)))


async def finish(redis: Redis, us: Turns, leased: Lease, outcome: str = "succeeded", name: str = "us") -> None:
    await take(redis, us, turns.finish(leased, b"result", record=lines(leased, name, outcome), life_ms=60_000))


async def bury(redis: Redis, us: Turns, leased: Lease) -> None:
    record = lines(leased, "us", "failed", DEATH.error)
    await take(redis, us, turns.bury(leased, b"result", DEATH, record=record, life_ms=60_000))


async def retry(redis: Redis, us: Turns, leased: Lease, *, in_ms: int = 0, name: str = "us") -> None:
    record = lines(leased, name, "retried", "OSError: later", over=False)
    await take(redis, us, turns.requeue(leased, record=record, due_ms=await now_ms(redis) + in_ms))


async def read(redis: Redis, job_id: str = "a") -> JobRecord:
    found = await job_records.read_job(redis, QUEUE, job_id)
    assert found is not None
    (listed,) = [job for job in (await job_records.list_jobs(redis, QUEUE)).jobs if job.job_id == job_id]
    assert listed == found, "a list says the same"
    return found


async def lose(redis: Redis, job_id: str = "a") -> None:
    """The worker is killed, and its lease runs out."""
    assert await redis.delete(keys.IN_PROGRESS_PREFIX + job_id)
