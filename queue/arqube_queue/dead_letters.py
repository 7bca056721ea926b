"""A queue's dead letters: jobs that have failed for good, kept with payload and reason, to be read, retried or purged.

A worker writes one in the script that ends the job (``scripts/turn.lua``): a member of the sorted set
``keys.dead_letters``, by the time of death, and the hash ``keys.dead_letter``. The payload is moved as bytes and never
loaded. Every call here takes a bounded time of Redis; what covers many letters goes through them in pages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from redis.asyncio import Redis

from arqube_queue import keys, scripts
from arqube_queue.payload import MOST, read_header

REASONS: Final = ("failed", "tries_exhausted", "timeout", "expired", "undecodable", "unknown_function")
"""Why a job can have died."""
PAGE: Final = 200
"""Letters read, retried or purged in one call of a script: a few milliseconds of Redis."""
HEAD: Final = 1024
"""Bytes of a payload that are read where the worker could not tell the function."""
LONG_HEAD: Final = 65_536
"""Bytes of it that are read for one letter."""
PAYLOAD_LIFE_MS: Final = 86_400_000
"""How long a retried job's payload lives: arq's default (``arq/connections.py``, ``expires_extra_ms``)."""
END_OF_TIME_MS: Final = MOST

_READ = scripts.load("dead_letters")
_RETRY = scripts.load("retry")
_PURGE = scripts.load("purge")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A job that has failed for good.

    Attributes:
        job_id: arq's id of the job.
        died_ms: When it died, in Unix milliseconds by Redis's clock.
        reason: One of ``REASONS``.
        function: Name of the function; None when neither the worker nor the payload tells it.
        error: The exception's class and message.
        tries: How often it was started.
        enqueued_ms: When it was enqueued, in Unix milliseconds by the producer's clock; None when unknown.
        worker: Name of the worker it died on.
        payload_bytes: Length of its payload; 0 when that had expired, so that it cannot be retried.
    """

    job_id: str
    died_ms: int
    reason: str
    function: str | None
    error: str
    tries: int
    enqueued_ms: int | None
    worker: str
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Remains:
    """A dead letter with all that is kept of the job: the traceback's text and the serialized payload."""

    letter: DeadLetter
    traceback: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Filter:
    """Which dead letters are meant: those that satisfy all of it.

    Attributes:
        function: Name of the function.
        reason: One of ``REASONS``.
        error: Text within the error, in capitals or not.
        since_ms: Earliest time of death, in Unix milliseconds.
        until_ms: Latest time of death, in Unix milliseconds.
    """

    function: str | None = None
    reason: str | None = None
    error: str | None = None
    since_ms: int = 0
    until_ms: int = END_OF_TIME_MS

    @property
    def by_time_alone(self) -> bool:
        """Whether Redis can tell what is meant without reading the letters."""
        return self.function is None and self.reason is None and self.error is None

    def matches(self, letter: DeadLetter) -> bool:
        """Whether ``letter`` is meant."""
        return (
            self.since_ms <= letter.died_ms <= self.until_ms
            and self.function in (None, letter.function)
            and self.reason in (None, letter.reason)
            and (self.error is None or self.error.casefold() in letter.error.casefold())
        )


ALL: Final = Filter()


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended: the last letter's time of death and id."""

    died_ms: int
    job_id: str


@dataclass(frozen=True, slots=True)
class Page:
    """Dead letters that were read together.

    Attributes:
        letters: Those that match the filter, in order.
        seen: How many were looked at.
        cursor: Where the next page begins; None when this was the last.
    """

    letters: tuple[DeadLetter, ...]
    seen: int
    cursor: Cursor | None


class Outcome(str, Enum):
    """What became of a retry."""

    RETRIED = "retried"
    MISSING = "missing"
    """There is no such dead letter, or it died after the time that was named."""
    WITHOUT_PAYLOAD = "without_payload"
    """Its payload had expired before it died: nothing is left to run."""
    QUEUED = "queued"
    """Another job of the same id is queued or runs."""


async def count(redis: Redis, queue: str, *, since_ms: int = 0, until_ms: int = END_OF_TIME_MS) -> int:
    """How many died within the time, both ends included."""
    number: int = await redis.zcount(keys.dead_letters(queue), since_ms, until_ms)
    return number


async def read_page(
    redis: Redis,
    queue: str,
    chosen: Filter = ALL,
    *,
    newest_first: bool = True,
    after: Cursor | None = None,
    limit: int = PAGE,
) -> Page:
    """Look at up to ``limit`` dead letters from ``after`` on, and return those that match.

    Letters that come or go meanwhile do not shift the others. One of the very time of ``after`` may be seen again when
    the letter at ``after`` is gone.
    """
    order = "newest" if newest_first else "oldest"
    last: list[str | int] = [after.died_ms, after.job_id] if after is not None else [0, ""]
    arguments: list[str | bytes | int] = [order, chosen.since_ms, chosen.until_ms, *last, limit, HEAD]
    more, rows = await _READ(redis, [keys.dead_letters(queue)], arguments)
    letters = [_letter(row) for row in rows if len(row) > 2]  # The others' hashes have aged out.
    end = Cursor(_time(rows[-1][1]), _text(rows[-1][0])) if rows and more else None
    return Page(tuple(filter(chosen.matches, letters)), len(rows), end)


async def read_pages(
    redis: Redis, queue: str, chosen: Filter = ALL, *, newest_first: bool = True
) -> AsyncIterator[Page]:
    """All dead letters that match, in pages. Each may be retried or purged before the next page is asked for."""
    after: Cursor | None = None
    told: set[str] = set()
    while True:
        page = await read_page(redis, queue, chosen, newest_first=newest_first, after=after, limit=PAGE)
        yield Page(tuple(each for each in page.letters if each.job_id not in told), page.seen, page.cursor)
        if page.cursor is None:
            return
        if after is None or after.died_ms != page.cursor.died_ms:
            told.clear()
        told |= {each.job_id for each in page.letters if each.died_ms == page.cursor.died_ms}
        after = page.cursor


async def read(redis: Redis, queue: str, job_id: str) -> Remains | None:
    """One dead letter with all that is kept of the job; None when there is none."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.zscore(keys.dead_letters(queue), job_id)
    pipeline.hgetall(keys.dead_letter(queue, job_id))
    died_ms, fields = await pipeline.execute()
    if died_ms is None or not fields:
        return None
    payload: bytes = fields.get(b"payload", b"")
    head = payload[:LONG_HEAD]
    texts = [fields.get(name, b"") for name in (b"reason", b"function", b"error", b"tries", b"enqueued_ms", b"worker")]
    letter = _letter([job_id.encode(), died_ms, len(payload), head, *texts])
    return Remains(letter, _text(fields.get(b"traceback", b"")), payload)


async def retry(
    redis: Redis, queue: str, job_ids: Sequence[str], *, until_ms: int = END_OF_TIME_MS, dry_run: bool = False
) -> dict[str, Outcome]:
    """Put dead letters back into the queue, due now, with all their tries; their old results go.

    Each is put back whole or not at all: the letter goes in the same script.

    Args:
        redis: Where the queue is.
        queue: Name of the queue.
        job_ids: Which.
        until_ms: Those that died later are left alone: a job that was retried and has died again, in a long run.
        dry_run: Change nothing; the outcomes are what they would be.

    Raises:
        redis.exceptions.RedisError: The server did not answer or refused. Some may have been put back.
    """
    outcomes: dict[str, Outcome] = {}
    records = (keys.job_records(queue), keys.job_ends(queue), keys.open_jobs(queue))
    bases = [keys.dead_letters(queue), queue, keys.ABORT, *records]
    for ids in _chunks(list(dict.fromkeys(job_ids))):
        arguments: list[str | bytes | int] = [until_ms, PAYLOAD_LIFE_MS, int(dry_run)]
        arguments += [keys.JOB_PREFIX, keys.RESULT_PREFIX, keys.RETRY_PREFIX, *ids]
        results = await _RETRY(redis, bases, arguments)
        outcomes |= {job_id: Outcome(result.decode()) for job_id, result in zip(ids, results, strict=True)}
    return outcomes


async def purge(redis: Redis, queue: str, job_ids: Sequence[str], *, until_ms: int = END_OF_TIME_MS) -> int:
    """Forget dead letters for good, but for those that died after ``until_ms``; how many there were."""
    purged = 0
    for ids in _chunks(job_ids):
        purged += int(await _PURGE(redis, [keys.dead_letters(queue)], [0, until_ms, 0, *ids]))
    return purged


async def purge_oldest(redis: Redis, queue: str, *, since_ms: int = 0, until_ms: int = END_OF_TIME_MS) -> int:
    """Forget the oldest that died within the time, a page of them; how many there were: 0 when none is left."""
    return int(await _PURGE(redis, [keys.dead_letters(queue)], [since_ms, until_ms, PAGE]))


def _chunks(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + PAGE] for start in range(0, len(items), PAGE)]


def _letter(row: Sequence[Any]) -> DeadLetter:
    """A letter of id, time of death, length of the payload, its beginning and the hash's fields."""
    job_id, died, payload_bytes, head, reason, function, error, tries, enqueued, worker = row
    header = read_header(head) if not function else None
    return DeadLetter(
        job_id=_text(job_id),
        died_ms=_time(died),
        reason=_text(reason),
        function=header.function if header else _text(function),
        error=_text(error),
        tries=_whole(tries) or 0,
        enqueued_ms=_whole(enqueued) or (header.enqueued_ms if header else None),
        worker=_text(worker),
        payload_bytes=payload_bytes,
    )


def _time(score: bytes | float) -> int:
    return int(min(max(float(score), 0), END_OF_TIME_MS))  # whoever wrote it


def _text(value: bytes) -> str:
    return value.decode(errors="backslashreplace")


def _whole(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) < 20 else None
