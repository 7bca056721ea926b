"""The work queue: each key once at a time, again while it fails."""

from __future__ import annotations

import asyncio

from arqube_operator.workqueue import FIRST_PAUSE_S, WorkQueue


def waiting(queue: WorkQueue[str]) -> bool:
    return not queue._ready.empty()


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


async def test_what_is_routine_waits_until_nothing_else_does() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", routine=True)
    queue.add("b", routine=True)
    queue.add("c")

    assert [await queue.get() for _ in range(3)] == ["c", "a", "b"]
