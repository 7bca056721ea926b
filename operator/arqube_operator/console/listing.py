"""The list of TaskQueues as the console shows it: sums over all of them, and a page of those that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from arqube_operator.console.view import Seen
from arqube_operator.decide.explanation import REASONS, attention
from arqube_operator.observe.cluster import Key

PAGE: Final = 100
"""TaskQueues on one page."""


class Only(StrEnum):
    """Which TaskQueues to list."""

    ALL = "all"
    WORK = "work"
    """Those with jobs that wait or run."""
    TROUBLE = "trouble"
    """Those that somebody should look at."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for: a text that the name or the queue's name must hold, which of them, and the page from 1 on."""

    text: str = ""
    only: Only = Only.ALL
    page: int = 1


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that somebody should look at: a CamelCase reason and a sentence."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Row:
    """One TaskQueue in the list; the queue's figures are None until it was read.

    Attributes:
        key: Its namespace and name.
        queue: The queue's name in Redis; None where the object cannot be understood.
        waiting: Jobs that are due and do not run.
        running: Jobs that run.
        deferred: Jobs that are due later.
        oldest_wait_s: Seconds the longest-waiting due job has waited.
        dead_letters: Jobs that have failed for good and are kept.
        ready: Workers that take jobs.
        desired: Workers there should be.
        most: Workers there may be; None where the object cannot be understood.
        reason: Why so many, as one word; empty before the first decision.
        why: The same in words.
        limit: What keeps the number from what the jobs need, as one word.
        troubles: What somebody should look at.
    """

    key: Key
    queue: str | None
    waiting: int | None
    running: int | None
    deferred: int | None
    oldest_wait_s: float | None
    dead_letters: int | None
    ready: int
    desired: int
    most: int | None
    reason: str
    why: str
    limit: str | None
    troubles: tuple[Trouble, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all TaskQueues."""

    task_queues: int = 0
    waiting: int = 0
    running: int = 0
    dead_letters: int = 0
    ready: int = 0
    with_work: int = 0
    in_trouble: int = 0


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of the list.

    Attributes:
        rows: The TaskQueues on it.
        totals: Sums over all, whatever was asked for.
        matched: How many TaskQueues are as was asked for.
        page: Which page this is, from 1 on: the last one where a later one was asked for.
        pages: How many there are, at least 1.
    """

    rows: tuple[Row, ...]
    totals: Totals
    matched: int
    page: int
    pages: int


def listing(seen: Sequence[Seen], wanted: Wanted, *, page_size: int = PAGE) -> Listing:
    """The page of ``seen``, which is in order, that is ``wanted``."""
    text = wanted.text.casefold()
    work = [each for each in seen if _has_work(each)]
    trouble = [each for each in seen if each.known.spec is None or attention(each.known.status)]
    chosen = {Only.ALL: seen, Only.WORK: work, Only.TROUBLE: trouble}[wanted.only]
    matching = [each for each in chosen if text in _searched(each)] if text else chosen
    pages = max(1, -(-len(matching) // page_size))
    page = min(max(1, wanted.page), pages)
    shown = matching[(page - 1) * page_size : page * page_size]
    return Listing(
        rows=tuple(row(each) for each in shown),
        totals=_totals(seen, len(work), len(trouble)),
        matched=len(matching),
        page=page,
        pages=pages,
    )


def row(seen: Seen) -> Row:
    """One TaskQueue in the list."""
    snapshot, spec, scaling = seen.reading.snapshot, seen.known.spec, seen.known.status.scaling
    return Row(
        key=seen.key,
        queue=spec.queue_name if spec else None,
        waiting=snapshot.waiting if snapshot else None,
        running=snapshot.running if snapshot else None,
        deferred=snapshot.deferred if snapshot else None,
        oldest_wait_s=snapshot.oldest_wait_s if snapshot else None,
        dead_letters=snapshot.dead_letters if snapshot else None,
        ready=seen.ready,
        desired=seen.desired,
        most=spec.scaling.max_replicas if spec else None,
        reason=scaling.reason if scaling else "",
        why=REASONS.get(scaling.reason, scaling.message) if scaling else "the operator has not decided yet",
        limit=scaling.limit if scaling else None,
        troubles=troubles(seen),
    )


def troubles(seen: Seen) -> tuple[Trouble, ...]:
    """What somebody should look at."""
    if seen.known.spec is None:
        return (Trouble("InvalidSpec", seen.known.problem),)
    return tuple(Trouble(found.reason, found.message) for found in attention(seen.known.status))


def _has_work(seen: Seen) -> bool:
    snapshot = seen.reading.snapshot
    return snapshot is not None and (snapshot.waiting > 0 or snapshot.running > 0)


def _searched(seen: Seen) -> str:
    spec = seen.known.spec
    return f"{seen.key} {spec.queue_name if spec else ''}".casefold()


def _totals(seen: Sequence[Seen], with_work: int, in_trouble: int) -> Totals:
    snapshots = [each.reading.snapshot for each in seen if each.reading.snapshot is not None]
    return Totals(
        task_queues=len(seen),
        waiting=sum(snapshot.waiting for snapshot in snapshots),
        running=sum(snapshot.running for snapshot in snapshots),
        dead_letters=sum(snapshot.dead_letters for snapshot in snapshots),
        ready=sum(each.ready for each in seen),
        with_work=with_work,
        in_trouble=in_trouble,
    )
