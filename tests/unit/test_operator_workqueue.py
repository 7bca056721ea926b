"""The work queue: each key once at a time, again while it fails."""

from __future__ import annotations

import asyncio

from arqube_operator.workqueue import FIRST_PAUSE_S, LONGEST_PAUSE_S, WorkQueue


def waiting(queue: WorkQueue[str]) -> bool:
    return any(not lane.empty() for lane in queue._lanes.values())


async def test_a_key_added_twice_is_worked_on_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")

    assert await queue.get() == "a"
    queue.done("a")

    assert not waiting(queue)


async def test_a_key_added_while_it_is_worked_on_is_worked_on_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")

    assert not waiting(queue)
    queue.done("a")
    assert await queue.get() == "a"


async def test_a_failed_key_comes_back_after_a_pause_that_grows() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()

    first = queue.failed("a")
    queue.add("a")

    assert not waiting(queue), "while it pauses, an add changes nothing"
    assert await asyncio.wait_for(queue.get(), 5) == "a"
    assert (first, queue.failed("a")) == (FIRST_PAUSE_S, FIRST_PAUSE_S * 2)


async def test_the_api_servers_own_pause_is_kept_to() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()

    assert queue.failed("a", 30) == 30


async def test_the_api_servers_own_pause_is_kept_to_within_reason() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()

    assert queue.failed("a", 86_400) == LONGEST_PAUSE_S
    queue.forget("a")


async def test_a_changed_spec_ends_the_pause() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.failed("a", 60)

    queue.add("a", now=True)

    assert await queue.get() == "a"


async def test_success_forgets_failures() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(2):
        queue.add("a", now=True)
        await queue.get()
        queue.failed("a")
    queue.add("a", now=True)
    await queue.get()
    queue.done("a")
    queue.add("a")
    await queue.get()

    assert queue.failed("a") == FIRST_PAUSE_S


async def test_what_is_urgent_need_not_wait_for_the_routine() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("a", "b", "c"):
        queue.add(key)
    queue.add("b", urgent=True)

    assert await queue.get(urgent=True) == "b"
    assert [await queue.get(), await queue.get()] == ["a", "c"]
    assert len(queue) == 0


async def test_a_key_that_becomes_urgent_while_it_is_worked_on_is_worked_on_again_as_such() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.add("a", urgent=True)
    queue.done("a")

    assert await queue.get(urgent=True) == "a"
    queue.done("a")
    assert not waiting(queue)
