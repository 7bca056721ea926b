"""``python -m benchmarks.chaos.producer``: enqueues the jobs of a run, and notes which of them Redis has for good.

Reads its orders from standard input, as JSON. Most jobs go through the outbox's script, many at a time, and become what
arq's ``enqueue_job`` makes of them; some go through arq's own client. An enqueue without an answer is repeated with the
same id until there is one.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from arq.connections import ArqRedis
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.exceptions import RedisError

from arqube_queue import jobs as queue_jobs
from arqube_queue import keys, outbox, payload_life
from arqube_queue.connection import RedisAddress
from arqube_queue.held_connection import HeldConnection
from benchmarks.chaos import kinds
from benchmarks.chaos.ledger import ACKNOWLEDGED, CANCELLED, PLANNED, PRODUCER, Book, digest

TICK_S: Final = 0.1
MOST_AT_ONCE: Final = 400
BY_CLIENT: Final = 0.02
"""The share of jobs that arq's own client enqueues."""
BURSTS: Final = 0.3
"""The share of jobs that come in bursts."""
PERSISTENCE_S: Final = 240.0
"""How long after the end of the load an enqueue is repeated."""
CONFIRM_MS: Final = 1000
MARK: Final = "chaos:mark"
"""Written after each enqueue, so that a replica's confirmation covers the enqueue, whichever connection that took."""
ERRORS: Final = (RedisError, OSError, TimeoutError)


class UnconfirmedError(Exception):
    """Too few replicas have it, or it is not there: it may get lost."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What to enqueue.

    Attributes:
        seed: For the order of the jobs and the times of bursts.
        jobs: How many.
        seconds: Over which time.
        queues: Name, key in Redis and share of each TaskQueue.
        host, port: Of Redis, where there are no sentinels.
        sentinels: Ports of the sentinels on this machine.
        master: What they call the primary.
        confirmations: How many replicas must confirm an enqueue.
        ledger: Folder of the books.
    """

    seed: int
    jobs: int
    seconds: float
    queues: list[tuple[str, str, float]]
    host: str
    port: int
    sentinels: list[int]
    master: str
    confirmations: int
    ledger: str

    def to_json(self) -> str:
        """As it is read from standard input."""
        return json.dumps(asdict(self))

    @property
    def address(self) -> RedisAddress:
        """Where Redis is."""
        if self.sentinels:
            hosts = tuple(("127.0.0.1", port) for port in self.sentinels)
            return RedisAddress(sentinels=hosts, sentinel_master=self.master)
        return RedisAddress(self.host, self.port)


@dataclass(frozen=True, slots=True)
class Planned:
    """A job to be enqueued at a time, in seconds from the start."""

    at_s: float
    job_id: str
    queue: str
    kind: kinds.Kind
    defer_s: float


def plan(orders: Orders) -> list[Planned]:
    """The jobs of a run in the order of their times: pure, the same for one seed."""
    chance = random.Random(f"{orders.seed}/jobs")  # noqa: S311 - no secret
    every = list(kinds.KINDS.values())
    drawn = chance.choices(every, [kind.share for kind in every], k=orders.jobs)
    queues = chance.choices(orders.queues, [share for _, _, share in orders.queues], k=orders.jobs)
    bursts = [chance.uniform(0.0, orders.seconds) for _ in range(6)]
    planned = []
    for number, (kind, (name, key, _)) in enumerate(zip(drawn, queues, strict=True)):
        at_s = chance.choice(bursts) if chance.random() < BURSTS else chance.uniform(0.0, orders.seconds)
        planned.append(Planned(at_s, kinds.job_id(name, kind, number), key, kind, chance.uniform(*kind.defer_s)))
    return sorted(planned, key=lambda each: each.at_s)


class Confirmed:
    """Sends a command, and takes it for done only when so many replicas have it."""

    def __init__(self, connection: HeldConnection, confirmations: int) -> None:
        self._connection = connection
        self._confirmations = confirmations

    async def execute_command(self, *command: str | bytes | int) -> Any:
        """The command's answer.

        Raises:
            UnconfirmedError: Not enough replicas have it.
        """
        if not self._confirmations:
            return await self._connection.execute_command(*command)
        # A command that is repeated may write nothing; the mark stands behind what the former one wrote.
        confirm: Sequence[Sequence[str | bytes | int]] = (("SET", MARK, 1), ("WAIT", self._confirmations, CONFIRM_MS))
        async with asyncio.timeout(10):
            answer, _, confirmed = await self._connection.execute_commands([command, *confirm])
        if isinstance(answer, Exception):
            raise answer
        if isinstance(confirmed, Exception) or int(confirmed) < self._confirmations:
            raise UnconfirmedError
        return answer


class Producer:
    """Enqueues and notes."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._book = Book(Path(orders.ledger), PRODUCER)
        self._redis = orders.address.connect()
        self._line = HeldConnection(self._redis)
        self._confirmed = Confirmed(HeldConnection(self._redis), orders.confirmations)
        self._payloads: list[bytes] = []
        self._moved: list[str] = []
        self._arq = ArqRedis(
            connection_pool=self._redis.connection_pool, job_serializer=self._serialize, job_deserializer=None
        )
        self._chance = random.Random(f"{orders.seed}/ways")  # noqa: S311 - no secret
        self._give_up_at = 0.0

    async def run(self) -> None:
        """All of it, as the plan says."""
        begin = time.monotonic()
        self._give_up_at = begin + self._orders.seconds + PERSISTENCE_S
        async with asyncio.TaskGroup() as group:
            for batch in self._batches(begin):
                await asyncio.sleep(max(0.0, begin + batch[0].at_s - time.monotonic()))
                by_client = [each for each in batch if each.kind.runs and self._chance.random() < BY_CLIENT]
                rest = [each for each in batch if each not in by_client]
                if rest:
                    await self._move(rest)
                for each in by_client:
                    await self._enqueue(each)
                for each in batch:
                    if each.kind.name == "cancelled":
                        group.create_task(self._cancel(each))
        await self._repeat(self._forget)
        await self._redis.aclose()

    def _batches(self, begin: float) -> Iterator[list[Planned]]:
        """What is due, a tick or a late producer's arrears at a time."""
        planned = plan(self._orders)
        first = 0
        while first < len(planned):
            until_s = max(planned[first].at_s, time.monotonic() - begin) + TICK_S
            last = first
            while last < len(planned) and planned[last].at_s < until_s and last - first < MOST_AT_ONCE:
                last += 1
            yield planned[first:last]
            first = last

    async def _repeat(self, enqueue: Callable[[], Awaitable[None]]) -> bool:
        """Until Redis says that it is done; whether it has."""
        while time.monotonic() < self._give_up_at:
            try:
                await enqueue()
            except (*ERRORS, UnconfirmedError):
                await asyncio.sleep(0.2)
            else:
                return True
        return False

    async def _move(self, batch: list[Planned]) -> None:
        now_ms = timestamp_ms()
        entries = [
            outbox.Entry(
                each.job_id, each.job_id, each.queue, _payload(each, now_ms), now_ms + int(each.defer_s * 1000), None
            )
            for each in batch
        ]
        names = [(entry.job_id, digest(entry.payload)) for entry in entries]
        self._book.note_all(PLANNED, names)

        async def move() -> None:
            answer = await outbox.move(
                self._confirmed,  # type: ignore[arg-type]  # It executes commands, and no more is asked of it.
                entries,
                until_ms=timestamp_ms() + 86_400_000,
                life_ms=payload_life.DEFAULT_LIFE_MS,
            )
            if any(answer.refusals):
                raise UnconfirmedError

        if await self._repeat(move):
            self._book.note_all(ACKNOWLEDGED, names)
            self._moved += [entry.token for entry in entries]
            with suppress(*ERRORS, UnconfirmedError):
                await self._forget()

    async def _forget(self) -> None:
        if self._moved:
            # As ``outbox.forget`` does, and confirmed by the replica: a failover would bring the tokens back.
            await self._confirmed.execute_command("ZREM", keys.OUTBOX_MOVED, *self._moved)
            self._moved.clear()

    async def _enqueue(self, each: Planned) -> None:
        self._book.note(PLANNED, each.job_id)

        async def enqueue() -> None:
            job = await self._arq.enqueue_job(
                each.kind.function,
                *each.kind.arguments,
                _job_id=each.job_id,
                _queue_name=each.queue,
                _defer_by=each.defer_s or None,
            )
            if job is None or self._orders.confirmations:
                # None means that there is such a job, or that the connection broke within the transaction.
                exists = ("EXISTS", keys.JOB_PREFIX + each.job_id, keys.RESULT_PREFIX + each.job_id)
                found = await self._confirmed.execute_command(*exists)
                if not found:
                    raise UnconfirmedError

        if await self._repeat(enqueue):
            # Of several payloads one is in Redis, and nobody can say which.
            payload = digest(self._payloads[0]) if len(self._payloads) == 1 else "-"
            self._book.note(PLANNED, each.job_id, payload)
            self._book.note(ACKNOWLEDGED, each.job_id)
        self._payloads.clear()

    def _serialize(self, value: dict[str, Any]) -> bytes:
        import pickle

        payload = pickle.dumps(value)
        self._payloads.append(payload)
        return payload

    async def _cancel(self, each: Planned) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, 2.0))
        self._book.note(CANCELLED, each.job_id)  # Before: Redis may do it, and its answer get lost.
        with suppress(*ERRORS):
            await queue_jobs.cancel(self._redis, each.queue, each.job_id)


def _payload(each: Planned, now_ms: int) -> bytes:
    payload = serialize_job(each.kind.function, each.kind.arguments, {}, None, now_ms)
    assert payload is not None  # noqa: S101
    return payload[:-7] if each.kind.name == "garbled" else payload


async def _main() -> None:
    await Producer(Orders(**json.loads(sys.stdin.read()))).run()


if __name__ == "__main__":
    asyncio.run(_main())
