"""The console's list: each TaskQueue on one page, sums over all, and what is asked for found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.v1alpha1 import Condition, RedisSpec, TaskQueueSpec, TaskQueueStatus, WorkerSpec
from arqube_operator.console.listing import Listing, Only, Totals, Wanted, listing, row
from arqube_operator.console.view import Seen
from arqube_operator.decide.state import Deployment, Identity
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.objects import KnownTaskQueue
from arqube_operator.observe.queues import Reading
from arqube_queue.model import QueueSnapshot


def seen(number: int, *, waiting: int | None = 0, bad: bool = False, **status: Any) -> Seen:
    key = Key("shop", f"queue-{number:03}")
    spec = TaskQueueSpec(
        redis=RedisSpec(host="redis"),
        queue_name=f"arq:{number}",
        worker=WorkerSpec(image="app:1", settings="app.WorkerSettings"),
    )
    condition = Condition(
        type="WorkersAvailable",
        status="False" if bad else "True",
        reason="CrashLooping" if bad else "AllReady",
        message="why",
        last_transition_time="2026-01-01T00:00:00Z",
    )
    return Seen(
        key=key,
        known=KnownTaskQueue(
            Identity(key.name, key.namespace, "uid", 1), spec, TaskQueueStatus(conditions=(condition,), **status)
        ),
        deployment=Deployment("", 1, spec_replicas=2, ready_replicas=1),
        reading=Reading(None if waiting is None else QueueSnapshot(1, waiting=waiting, running=1 if waiting else 0)),
    )


def names(found: Listing) -> list[str]:
    return [each.key.name for each in found.rows]


@given(st.integers(0, 60), st.integers(1, 20), st.integers(-3, 30))
def test_each_task_queue_is_on_one_page_and_no_page_is_beyond_the_last(count: int, size: int, asked: int) -> None:
    every = [seen(number) for number in range(count)]
    first = listing(every, Wanted(), page_size=size)
    pages = [listing(every, Wanted(page=page), page_size=size) for page in range(1, first.pages + 1)]
    assert [name for page in pages for name in names(page)] == [each.key.name for each in every]
    assert all(page.rows for page in pages) or not every
    assert 1 <= listing(every, Wanted(page=asked), page_size=size).page <= first.pages


EVERY = [seen(0), seen(1, waiting=7), seen(2, bad=True), seen(3, waiting=None), seen(4, waiting=2, bad=True)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        pytest.param(Wanted(), [0, 1, 2, 3, 4], id="all"),
        pytest.param(Wanted(only=Only.WORK), [1, 4], id="those with work"),
        pytest.param(Wanted(only=Only.TROUBLE), [2, 4], id="those in trouble"),
        pytest.param(Wanted(text="SHOP/queue-003"), [3], id="by name, in capitals or not"),
        pytest.param(Wanted(text="arq:4"), [4], id="by the queue in Redis"),
        pytest.param(Wanted(text="arq:1", only=Only.TROUBLE), [], id="both narrow down"),
        pytest.param(Wanted(text="none"), [], id="none is like that"),
    ],
)
def test_what_is_asked_for_is_found(wanted: Wanted, expected: list[int]) -> None:
    found = listing(EVERY, wanted)
    assert names(found) == [f"queue-{number:03}" for number in expected]
    assert found.matched == len(expected)
    assert found.totals == Totals(task_queues=5, waiting=9, running=2, ready=5, with_work=2, in_trouble=2)


def test_a_queue_that_cannot_be_read_now_shows_what_it_was_and_one_never_read_shows_nothing() -> None:
    assert row(EVERY[3]).waiting is None
    assert row(EVERY[1]).waiting == 7


def test_in_a_dry_run_the_decided_number_is_shown_and_not_the_live_one() -> None:
    assert row(seen(1)).desired == 2
    assert row(seen(1, desired_replicas=5)).desired == 5
