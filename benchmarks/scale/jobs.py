"""One queue and more and more jobs: what it costs to look at it, to take jobs of it, to add to it, to list it.

All jobs are half a day overdue with the payloads that arq gives them, which the operator then begins to keep. They are
written by scripts in Redis, many at a time, as producers of days would have left them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from arq.connections import ArqRedis
from arq.jobs import serialize_job
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import job_records, job_tries, keys, payload_life, turns
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from arqube_queue.turns import Death, End, Lease, Policy, Turns
from benchmarks.redis_commands import execute
from benchmarks.scale.commands import arqube
from benchmarks.scale.redis_costs import Cost, cost, memory_bytes

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)
QUEUE: Final = "arq:queue"
RUNNING: Final = 10_000
"""Jobs that run at the head of the queue."""
DEFERRED: Final = 1_000_000
LETTERS: Final = (1_000, 10_000, 100_000)
CHUNK: Final = 10_000
"""Jobs that one script writes."""
AGE_MS: Final = 13 * 3_600_000
SLOTS: Final = 100
"""Jobs that one turn of a worker ends, and takes."""
LOOKS: Final = 30

_FILL: Final = """
local due, life = tonumber(ARGV[3]), tonumber(ARGV[4])
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('%032x', number)
  redis.call('ZADD', KEYS[1], string.format('%.0f', due + number / 100), id)
  if life > 0 then redis.call('SET', KEYS[2] .. id, ARGV[5], 'PX', string.format('%.0f', life)) end
end"""
_RUN: Final = """
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[1], ARGV[2])) do
  redis.call('SET', KEYS[2] .. id, 'elsewhere', 'PX', 3600000)
end"""
_BURY: Final = """
for number = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local id = string.format('dead%028x', number)
  redis.call('HSET', KEYS[2] .. id, 'payload', ARGV[4], 'reason', 'failed', 'function', 'send_email', 'error',
    'ValueError: no such address', 'traceback', ARGV[5], 'tries', 5, 'enqueued_ms', ARGV[3], 'died_ms', ARGV[3],
    'worker', 'emails-worker-7d9f8c6b5-x2k4p')
  redis.call('ZADD', KEYS[1], ARGV[3] + number / 100, id)
end"""


async def measure(sizes: Sequence[int], letters: Sequence[int] = LETTERS) -> dict[str, Any]:
    """The figures of each number of jobs, and of each number of dead letters beside the last of them."""
    with RedisServer() as server:
        redis = server.address.connect(timeout_s=60)
        try:
            queue = _Queue(redis, server.url)
            jobs = [await queue.measure(size) for size in sizes]
            dead = [await queue.measure_dead_letters(size) for size in letters]
            return {"redis": server.version.partition(" sha")[0], "jobs": jobs, "dead_letters": dead}
        finally:
            await redis.aclose()


class _Queue:
    """The queue, and how many jobs were ever written to it."""

    def __init__(self, redis: Redis, url: str) -> None:
        self._redis = redis
        self._url = url
        self._written = 0
        self._now_ms = int(time.time() * 1000)
        self._payload = serialize_job(
            "send_email", ("user@example.com", 42), {"template": "welcome"}, None, self._now_ms - AGE_MS
        )

    async def measure(self, size: int) -> dict[str, Any]:
        before, present = await memory_bytes(self._redis), await self._redis.zcard(QUEUE)
        began = time.monotonic()
        await self._fill(size)
        _say(f"{size} jobs are there after {time.monotonic() - began:.0f} s")
        used = await memory_bytes(self._redis) - before
        figures: dict[str, Any] = {
            "jobs": size,
            "bytes_a_job": round(used / (size - present)),
            **_named("snapshot", await self._snapshot()),
            **_named("claim", await self._claims(size)),
            **_named("enqueue", await self._enqueues()),
            **_named("keep_first_page", await self._keeps(0)),
            **_named("keep_last_page", await self._keeps(max(0, size - payload_life.LOOK))),
            "keep_all_pages": -(-size // payload_life.LOOK),
            **_named("list_page", await cost(self._redis, lambda: job_records.list_jobs(self._redis, QUEUE), LOOKS)),
            "jobs_list_s": await self._command("jobs", "list"),
            "queues_s": await self._command("queues"),
        }
        figures |= await self._with_running(size)
        figures |= await self._with_deferred()
        _say(f"{size} jobs: {figures}")
        return figures

    async def measure_dead_letters(self, size: int) -> dict[str, Any]:
        """Beside all jobs that are there."""
        name = keys.dead_letters(QUEUE)
        traceback = "Traceback (most recent call last):\n" + 20 * '  File "app/worker/mails.py", line 42, in send\n'
        used, present = await memory_bytes(self._redis), await self._redis.zcard(name)
        died_ms = self._now_ms - 3_600_000
        for first in range(present, size, CHUNK):
            last = min(first + CHUNK, size) - 1
            arguments = (first, last, died_ms, self._payload, traceback)
            await execute(self._redis, "EVAL", _BURY, 2, name, keys.dead_letter(QUEUE, ""), *arguments)
        added = await self._redis.zcard(name) - present
        figures = {
            "dead_letters": size,
            "bytes_a_letter": round((await memory_bytes(self._redis) - used) / added),
            **_named("snapshot", await self._snapshot()),
            **_named("bury", await self._buries(size)),
            "dlq_list_s": await self._command("dlq", "list"),
            "dlq_list_of_a_function_s": await self._command("dlq", "list", "--function", "resize_image"),
        }
        _say(f"{size} dead letters: {figures}")
        return figures

    async def _fill(self, size: int) -> None:
        """Write jobs behind those that are there until there are so many."""
        missing = size - await self._redis.zcard(QUEUE)
        due_ms = self._now_ms - AGE_MS
        life_ms = payload_life.DEFAULT_LIFE_MS - AGE_MS
        names = (QUEUE, keys.JOB_PREFIX)
        for first in range(self._written, self._written + missing, CHUNK):
            last = min(first + CHUNK, self._written + missing) - 1
            await execute(self._redis, "EVAL", _FILL, 2, *names, first, last, due_ms, life_ms, self._payload)
        self._written += max(0, missing)

    async def _snapshot(self) -> Cost:
        query = SnapshotQuery(QUEUE, horizon_s=10.0)
        return await cost(self._redis, lambda: read_snapshots(self._redis, [query]), LOOKS)

    async def _claims(self, size: int, ends: Callable[[Lease], End] | None = None) -> Cost:
        """Of turns that end the jobs of the one before and take new ones."""
        worker = _Worker(self._redis, ends or _finished)
        found = await cost(self._redis, worker.turn, min(LOOKS, size // SLOTS // 3))
        await worker.leave()
        await self._fill(size)
        return found

    async def _buries(self, size: int) -> Cost:
        return await self._claims(await self._redis.zcard(QUEUE), _buried)

    async def _enqueues(self) -> Cost:
        producer = ArqRedis(self._redis.connection_pool)
        found = await cost(self._redis, lambda: producer.enqueue_job("send_email", "user@example.com", 42), 10 * LOOKS)
        added = await self._redis.zrange(QUEUE, -(10 * LOOKS + 1), -1)
        await self._redis.zrem(QUEUE, *added)
        await self._redis.delete(*(keys.JOB_PREFIX + job.decode() for job in added))
        return found

    async def _keeps(self, rank: int) -> Cost:
        return await cost(self._redis, lambda: payload_life.keep_payloads(self._redis, QUEUE, first=rank), LOOKS)

    async def _with_running(self, size: int) -> dict[str, Any]:
        """The same where many jobs at the head run elsewhere: a new worker has to find its way past them once."""
        running = min(RUNNING, size // 2)
        for first in range(0, running, CHUNK):
            last = min(first + CHUNK, running) - 1
            await execute(self._redis, "EVAL", _RUN, 2, QUEUE, keys.IN_PROGRESS_PREFIX, first, last)
        snapshot = await self._snapshot()
        worker = _Worker(self._redis, _finished)
        turns_past = 0
        while not worker.leases:
            await worker.turn()
            turns_past += 1
        claim = await cost(self._redis, worker.turn, min(LOOKS, size // SLOTS // 3))
        await worker.leave()
        head = await self._redis.zrange(QUEUE, 0, running - 1)
        await self._redis.delete(*(keys.IN_PROGRESS_PREFIX + job.decode() for job in head))
        await self._fill(size)
        return {
            "running": running,
            "turns_past_running": turns_past,
            **_named("running_snapshot", snapshot),
            **_named("running_claim", claim),
        }

    async def _with_deferred(self) -> dict[str, Any]:
        due_ms, first_id = self._now_ms + 86_400_000, 10**12
        for first in range(first_id, first_id + DEFERRED, CHUNK):
            last = first + CHUNK - 1
            await execute(
                self._redis, "EVAL", _FILL, 2, QUEUE, keys.JOB_PREFIX, first, last, due_ms - first_id / 100, 0, ""
            )
        size = await self._redis.zcard(QUEUE)
        figures = _named("deferred_snapshot", await self._snapshot())
        worker = _Worker(self._redis, _finished)
        figures |= _named("deferred_claim", await cost(self._redis, worker.turn, 3))
        await worker.leave()
        for _ in range(DEFERRED // CHUNK):
            await self._redis.zremrangebyrank(QUEUE, -CHUNK, -1)
        await self._fill(size - DEFERRED)
        return {"deferred": DEFERRED, **figures}

    async def _command(self, *words: str) -> float:
        return await arqube(*words, "--redis", self._url, "--queue", QUEUE)


class _Worker:
    """Takes turns at the queue as a worker with so many slots does whose jobs are done at once."""

    def __init__(self, redis: Redis, end: Callable[[Lease], End]) -> None:
        self.leases: list[Lease] = []
        self._turns = Turns(redis, QUEUE, worker="emails-worker-1", token=f"w{time.monotonic_ns()}", policy=Policy())
        self._end = end

    async def turn(self) -> None:
        ends = [self._end(lease) for lease in self.leases]
        self.leases = (await self._turns.take(ends, now_ms=int(time.time() * 1000), limit=SLOTS)).leases

    async def leave(self) -> None:
        """Give back what it has, as a worker that stops does."""
        ends = [turns.give_back(lease) for lease in self.leases]
        await self._turns.take(ends, now_ms=int(time.time() * 1000), limit=0)


def _record(lease: Lease, outcome: str, error: str = "") -> str:
    tried = job_tries.ended_try(lease.tries, '"emails-worker-1"', 1000, 3000, outcome, error)
    return "\n".join((job_tries.ending('"send_email"', 7, outcome), tried))


def _finished(lease: Lease) -> End:
    return turns.finish(lease, b"done", record=_record(lease, "succeeded"), life_ms=60_000)


def _buried(lease: Lease) -> End:
    death = Death("failed", "send_email", "ValueError: no such address", "Traceback ...", lease.tries, 7)
    return turns.bury(lease, b"failed", death, record=_record(lease, "failed", death.error), life_ms=60_000)


def _named(what: str, found: Cost) -> dict[str, float]:
    return {f"{what}_{name}": value for name, value in asdict(found).items()}


def _say(what: str) -> None:
    """Tell of the progress where it is in no one's way."""
    print(what, file=sys.stderr, flush=True)
