"""Reads all queues of one Redis each tick, many in one round trip, and says who may look again.

One task a Redis address. A server that does not answer is tried again with growing pauses; its queues show why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Protocol

import structlog
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from arqube_operator.decide.state import Problem
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.payloads import PayloadKeeper
from arqube_queue import keys
from arqube_queue.connection import RedisAddress
from arqube_queue.held_connection import HeldConnection
from arqube_queue.model import QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots

TICK_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0
READ_TIMEOUT_S: Final = 5.0
PIPELINE: Final = 200
"""Queues read in one round trip: between two of them others have their turn, on Redis and in our loop."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """The newest snapshot of a queue, if it was ever read, and why it cannot be read now, if so."""

    snapshot: QueueSnapshot | None = None
    problem: Problem | None = None

    @property
    def has_work(self) -> bool:
        """Whether jobs wait that nobody runs."""
        return self.snapshot is not None and self.snapshot.waiting > 0


class Meter(Protocol):
    """Who counts what reading takes."""

    def ticked(self, delay_s: float) -> None:
        """The queues of one Redis begin to be read, ``delay_s`` seconds after they were due to be."""

    def redis_asked(self) -> None:
        """A pipeline of reads is sent to a Redis."""

    def redis_failed(self, reason: str) -> None:
        """A Redis could not be read."""


class QueueObserver:
    """Watches the queues it is asked to; ``wake`` is called after each reading of a key's queue."""

    def __init__(self, wake: Callable[[Key, Reading], None], meter: Meter, *, tick_s: float = TICK_S) -> None:
        self._wake = wake
        self._meter = meter
        self._tick_s = tick_s
        self._readings: dict[Key, Reading] = {}
        self._addresses: dict[Key, RedisAddress] = {}
        self._queries: dict[RedisAddress, dict[Key, SnapshotQuery]] = {}
        self._tasks: dict[RedisAddress, asyncio.Task[None]] = {}

    def watch(self, key: Key, address: RedisAddress, query: SnapshotQuery) -> Reading:
        """Read ``query`` at ``address`` for ``key`` from now on; the newest reading so far is returned."""
        if (known := self._addresses.get(key)) is not None and known != address:
            self.forget(key)
        self._addresses[key] = address
        self._queries.setdefault(address, {})[key] = query
        if (task := self._tasks.get(address)) is None or task.done():  # done: a defect of ours ended it
            self._tasks[address] = asyncio.create_task(self._observe(address), name=f"observe {address.label}")
        return self.reading(key)

    def reading(self, key: Key) -> Reading:
        """The newest reading of a key's queue so far."""
        return self._readings.get(key, Reading())

    def address(self, key: Key) -> RedisAddress | None:
        """Where a key's queue is; None while it is not watched."""
        return self._addresses.get(key)

    def retire(self, key: Key, owner: str, workers: frozenset[str]) -> None:
        """From the next reading on have ``workers``, and no others of ``owner``, asked to take no more jobs."""
        if (address := self._addresses.get(key)) is not None:
            queries = self._queries[address]
            queries[key] = replace(queries[key], owner=owner, retiring=workers)

    def forget(self, key: Key) -> None:
        """Read nothing more for ``key``; the last key of an address takes its connection along."""
        self._readings.pop(key, None)
        if (address := self._addresses.pop(key, None)) is None:
            return
        queries = self._queries[address]
        del queries[key]
        if not queries:
            del self._queries[address]
            self._tasks.pop(address).cancel()

    async def close(self) -> None:
        """Stop all reading."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _observe(self, address: RedisAddress) -> None:
        loop = asyncio.get_running_loop()
        client = address.connect(timeout_s=READ_TIMEOUT_S)
        connection = HeldConnection(client)
        failures = 0
        payloads = PayloadKeeper(client, timeout_s=READ_TIMEOUT_S)
        due = loop.time()
        try:
            # Not only the cancellation ends it: redis-py may swallow one that meets a command (seen on Python 3.11).
            while self._tasks.get(address) is asyncio.current_task():
                started = loop.time()
                self._meter.ticked(started - due)
                problem = await self._read(connection, address)
                if problem is None:
                    failures = 0
                    await payloads.keep(self._with_waiting_jobs(address), started, tick_s=self._tick_s)
                    due = started + self._tick_s
                else:
                    if failures == 0:
                        log.warning("redis.unreachable", redis=address.label, reason=problem.reason)
                    self._meter.redis_failed(problem.reason)
                    failures += 1
                    due = loop.time() + min(LONGEST_PAUSE_S, self._tick_s * 2 ** min(failures - 1, 10))
                await asyncio.sleep(max(0.0, due - loop.time()))
        finally:
            await connection.disconnect()
            await client.aclose()

    def _with_waiting_jobs(self, address: RedisAddress) -> dict[Key, str]:
        readings = ((key, query, self._readings.get(key)) for key, query in self._queries.get(address, {}).items())
        return {key: query.queue for key, query, reading in readings if reading is not None and reading.has_work}

    async def _read(self, connection: HeldConnection, address: RedisAddress) -> Problem | None:
        """Read all queues of the address; the problem of the server as a whole, if it has one."""
        waiting = iter(list(self._queries[address].items()))
        while queries := dict(islice(waiting, PIPELINE)):
            self._meter.redis_asked()
            try:
                async with asyncio.timeout(READ_TIMEOUT_S):
                    results = await _snapshots(connection, list(queries.values()))
            except (RedisError, OSError, TimeoutError) as error:
                problem = _problem_of_server(address, error)
                for key in (*queries, *dict(waiting)):
                    self._put(key, address, Reading(self.reading(key).snapshot, problem))
                return problem
            for (key, query), result in zip(queries.items(), results, strict=True):
                if isinstance(result, QueueSnapshot):
                    self._put(key, address, Reading(result))
                else:
                    problem = _problem_of_queue(address, query, result)
                    self._put(key, address, Reading(self.reading(key).snapshot, problem))
        return None

    def _put(self, key: Key, address: RedisAddress, reading: Reading) -> None:
        if self._addresses.get(key) == address:  # It may have been forgotten or moved while we read.
            self._readings[key] = reading
            self._wake(key, reading)


async def _snapshots(connection: HeldConnection, queries: list[SnapshotQuery]) -> list[QueueSnapshot | ResponseError]:
    try:
        return await read_snapshots(connection, queries)
    except AuthenticationError:
        raise
    except RedisConnectionError:
        # It may have been dropped between two readings: only on a new one does that mean that Redis is away.
        return await read_snapshots(connection, queries)


def _problem_of_server(address: RedisAddress, error: Exception) -> Problem:
    if isinstance(error, AuthenticationError):
        return Problem(
            "RedisAuthenticationFailed", f"Redis at {address.label} refuses user or password: {_words(error)}"
        )
    return Problem("RedisUnreachable", f"Redis at {address.label} does not answer: {_words(error)}")


def _problem_of_queue(address: RedisAddress, query: SnapshotQuery, error: ResponseError) -> Problem:
    # Redis refuses long commands of unauthenticated clients before it says NOAUTH (networking.c).
    if isinstance(error, AuthenticationError) or "NOAUTH" in str(error) or "unauthenticated" in str(error):
        return Problem("RedisAuthenticationFailed", f"Redis at {address.label} asks for a password: set passwordFrom")
    if isinstance(error, NoPermissionError):
        return Problem("RedisPermissionDenied", f"the user of Redis at {address.label} lacks a right: {_words(error)}")
    if "WRONGTYPE" in str(error):
        ours = f"{keys.heartbeats(query.queue)!r} no hash, or {keys.dead_letters(query.queue)!r} no sorted set"
        return Problem(
            "NotAQueue",
            f"the key {query.queue!r} at {address.label} is no arq queue: check spec.queueName; or else {ours}: look at"
            " their TYPE, and delete what is not ours",
        )
    return Problem("RedisError", f"Redis at {address.label} cannot read queue {query.queue!r}: {_words(error)}")


def _words(error: Exception) -> str:
    return str(error)[:300] or type(error).__name__
