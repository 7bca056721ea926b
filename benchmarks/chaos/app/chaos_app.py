"""The arq app of the chaos runs: each job notes when it begins and ends, and the worker what Redis has confirmed."""

from __future__ import annotations

import asyncio
import functools
import os
import select
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, ClassVar

from arq import Retry, cron, func
from benchmarks.chaos import kinds
from benchmarks.chaos.ledger import BURIED, FINISHED, RAISED, REQUEUED, RETURNED, STARTED, WORKER, Book

from arqube_queue import environment as env
from arqube_queue.turns import End, Turn, Turns
from arqube_worker.retries import Backoff, RetryPolicy

BOOK = Book(Path(os.environ["CHAOS_LEDGER"].removeprefix("file://")), WORKER)


class OnPurposeError(Exception):
    """What jobs raise that are to fail."""


Job = Callable[..., Coroutine[Any, Any, None]]


def noted(job: Job) -> Job:
    """Note when the job begins and ends."""

    @functools.wraps(job)
    async def wrapper(ctx: dict[str, Any], *args: Any) -> None:
        BOOK.note(STARTED, ctx["job_id"], ctx["job_try"])
        try:
            await job(ctx, *args)
        except BaseException:
            BOOK.note(RAISED, ctx["job_id"])
            raise
        BOOK.note(RETURNED, ctx["job_id"])

    return wrapper


@noted
async def noop(ctx: dict[str, Any]) -> None:
    """Do nothing."""


@noted
async def nap(ctx: dict[str, Any], seconds: float) -> None:
    """Wait a little."""
    await asyncio.sleep(seconds)


@noted
async def asks(ctx: dict[str, Any], times: float) -> None:
    """Ask for another try so many times, as arq's jobs do."""
    if ctx["job_try"] <= times:
        raise Retry(defer=0.3)


@RetryPolicy(backoff=Backoff(initial=0.2, maximum=1.0))
@noted
async def flaky(ctx: dict[str, Any], times: float) -> None:
    """Fail so many times, which a policy retries."""
    if ctx["job_try"] <= times:
        raise OnPurposeError("not yet")


@noted
async def fails(ctx: dict[str, Any]) -> None:
    """Fail for good."""
    raise OnPurposeError("for good")


@noted
async def hopeless(ctx: dict[str, Any]) -> None:
    """Ask for another try as long as there are any."""
    raise Retry(defer=0.1)


@noted
async def too_slow(ctx: dict[str, Any], seconds: float) -> None:
    """Take longer than it may."""
    await asyncio.sleep(seconds)


@noted
async def blocks(ctx: dict[str, Any], seconds: float) -> None:
    """Block the event loop, as a careless job does."""
    select.select([], [], [], seconds)  # time.sleep fails under a false clock.


@noted
async def tick(ctx: dict[str, Any]) -> None:
    """Run by the clock."""


async def _take(self: Turns, ends: Iterable[End], **options: Any) -> Turn:
    """Take a turn, and note which ends Redis has confirmed by its own answer."""
    ends = list(ends)
    turn = await _TAKE(self, ends, **options)
    confirmed: dict[str, list[tuple[str, str]]] = {}
    for end, written, buried in zip(ends, turn.ended, turn.buried, strict=True):
        if written and end[0] != "lease":
            what = BURIED if buried else FINISHED if end[0] == FINISHED else REQUEUED
            confirmed.setdefault(what, []).append((str(end[1]), "-"))
    for what, jobs in confirmed.items():
        BOOK.note_all(what, jobs)
    return turn


_TAKE, Turns.take = Turns.take, _take  # type: ignore[method-assign]


class WorkerSettings:
    """All kinds."""

    functions: ClassVar = [
        *(noop, nap, asks, flaky, fails, blocks),
        func(hopeless, max_tries=kinds.HOPELESS_TRIES),
        func(too_slow, timeout=kinds.TIMEOUT_S),
    ]
    max_tries = kinds.MOST_TRIES
    job_timeout = 30
    allow_abort_jobs = True


class WithCron(WorkerSettings):
    """A cron beside them: for a queue that keeps a worker, as one that is at zero would never come to rest."""

    cron_jobs: ClassVar = [cron(tick, name=f"{kinds.CRON}{os.environ[env.QUEUE_NAME]}", second=set(range(0, 60, 10)))]
